import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.callbacks.scatter import scatter
from lit_gen.errors import UserError


def colours(picture) -> set[tuple[int, ...]]:
    """Pure colours: those of more than a few pixels."""
    values, counts = np.unique(np.asarray(picture).reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(value.tolist()) for value, count in zip(values, counts, strict=True) if count > 20}


def codes(count: int, num_classes: int):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 2, generator=generator), torch.arange(count) % num_classes


def test_each_class_has_its_colour_and_its_legend():
    points, label = codes(400, 3)
    alone = scatter(points, title="all")
    classes = scatter(points, label=label, names=["one", "two", "three"], title="all")
    assert len(colours(classes)) >= len(colours(alone)) + 2
    unnamed = scatter(points, label=label, title="all")
    right = np.asarray(classes)[:, -120:]
    assert (right != np.asarray(unnamed)[:, -120:]).any(), "the legend names the classes"
    assert np.asarray(alone).shape[1] < np.asarray(classes).shape[1], "without classes there is no legend"


def test_many_classes_have_no_legend():
    points, label = codes(400, 40)
    assert scatter(points, label=label).size == scatter(points).size


def test_axes_hold_99_of_100_and_far_points_are_counted(monkeypatch):
    titles = []
    from matplotlib.axes import Axes

    monkeypatch.setattr(Axes, "set_title", lambda self, title, **kwargs: titles.append(title))
    points, label = codes(1000, 3)
    points = points.remainder(1.0)
    points[:3] = torch.tensor([[1e6, 0.5], [0.5, -1e6], [1e6, 1e6]])
    scatter(points, label=label, title="1000 points")
    assert titles == ["1000 points (3 beyond the axes)"]


def test_codes_that_are_not_finite_are_refused():
    points, label = codes(10, 2)
    points[3, 1] = torch.nan
    with pytest.raises(UserError, match="finite"):
        scatter(points, label=label)


def ink(picture: Image.Image) -> np.ndarray:
    """Pixels that are neither grey nor white."""
    pixels = np.asarray(picture).astype(int)
    return pixels.max(axis=2) - pixels.min(axis=2) > 30


def test_points_are_drawn_beside_the_data_on_the_same_axes():
    data = torch.randn(500, 2)
    alone = scatter(data)
    both = scatter(data, beside=data)
    assert both.width == 2 * alone.width
    left, right = ink(both)[:, : alone.width], ink(both)[:, alone.width :]
    assert left.sum() > 200 and abs(int(left.sum()) - int(right.sum())) < 0.02 * left.sum()
    far = ink(scatter(data + 1000, beside=data))
    assert far[:, : alone.width].sum() == 0 and far[:, alone.width :].sum() > 200


def test_points_are_coloured_by_class():
    points = torch.randn(300, 2) * 0.1 + torch.tensor([-1.0, 1.0]).repeat(150)[:, None]
    label = (points[:, 0] > 0).long()

    def halves(picture):
        pixels, middle = np.asarray(picture).astype(float), 320  # of the axes, which are 600 pixels wide
        low, high = ink(picture)[:, :middle], ink(picture)[:, middle:600]
        return pixels[:, :middle][low].mean(axis=0), pixels[:, middle:600][high].mean(axis=0)

    first, second = halves(scatter(points))
    assert np.abs(first - second).max() < 10
    first, second = halves(scatter(points, label=label))
    assert first[2] > first[0] + 50 and second[0] > second[2] + 50, "the first class is blue, the second orange"


def test_drawing_leaves_no_figure_open():
    scatter(torch.randn(10, 2))
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_a_class_may_be_called_anything():
    points, label = torch.randn(12, 2), torch.arange(12) % 4
    names = ["$a^$", "_hidden", "caf\udce9\x07", "50 % of {x}"]
    assert scatter(points, label=label, names=names).size == (800, 620)
