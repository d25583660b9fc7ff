import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.callbacks.code_scatter import CodeScatter, scatter_by_class
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
    alone = scatter_by_class(points, None, [], "all")
    classes = scatter_by_class(points, label, ["one", "two", "three"], "all")
    assert len(colours(classes)) >= len(colours(alone)) + 2
    unnamed = scatter_by_class(points, label, [], "all")
    right = np.asarray(classes)[:, -120:]
    assert (right != np.asarray(unnamed)[:, -120:]).any(), "the legend names the classes"
    assert np.asarray(alone).shape[1] < np.asarray(classes).shape[1], "without classes there is no legend"


def test_many_classes_have_no_legend():
    points, label = codes(400, 40)
    assert scatter_by_class(points, label, [], "").size == scatter_by_class(points, None, [], "").size


def test_axes_hold_99_of_100_and_far_points_are_counted(monkeypatch):
    titles = []
    from matplotlib.axes import Axes

    monkeypatch.setattr(Axes, "set_title", lambda self, title, **kwargs: titles.append(title))
    points, label = codes(1000, 3)
    points = points.remainder(1.0)
    points[:3] = torch.tensor([[1e6, 0.5], [0.5, -1e6], [1e6, 1e6]])
    scatter_by_class(points, label, [], "1000 points")
    assert titles == ["1000 points (3 beyond the axes)"]


def test_pictures_of_the_test_split_and_of_validation(make_trainer, labelled_data, linear_model, tmp_path):
    trainer = make_trainer(CodeScatter(every_n_epochs=2), max_epochs=4)
    model, data = linear_model(), labelled_data()
    data.class_names = ["a", "b", "c"]
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "codes_test_0000012.png",
        "codes_val_0000006.png",
        "codes_val_0000012.png",
    ]
    with torch.no_grad():
        expected = scatter_by_class(model.eval().encode(data.x), data.label, data.class_names, "24 test examples")
    drawn = Image.open(tmp_path / "samples" / "codes_test_0000012.png")
    assert (np.asarray(drawn) == np.asarray(expected)).all()


def test_a_few_points_of_many(make_trainer, labelled_data, linear_model, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "lit_gen.callbacks.code_scatter.scatter_by_class",
        lambda points, label, names, title: seen.append((points, label, title)) or Image.new("RGB", (1, 1)),
    )
    model, data = linear_model(), labelled_data()
    make_trainer(CodeScatter(num_points=10)).test(model, data, verbose=False)
    ((points, label, title),) = seen
    rows = [row for row in range(24) if (row + 1) * 10 // 24 > row * 10 // 24]
    with torch.no_grad():
        torch.testing.assert_close(points, model.eval().encode(data.x[rows]))
    assert label.tolist() == data.label[rows].tolist() and title == "10 test examples"


def test_codes_of_other_dimensions_are_refused_before_the_first_step(make_trainer, labelled_data, linear_model):
    model, data = linear_model(dim=3), labelled_data()
    trainer = make_trainer(CodeScatter())
    with pytest.raises(UserError, match="2 dimensions, not of 3"):
        trainer.fit(model, data)
    assert trainer.global_step == 0
    for kwargs in ({"num_points": 0}, {"every_n_epochs": -1}):
        with pytest.raises(UserError, match="of at least"):
            CodeScatter(**kwargs)


def test_codes_that_are_not_finite_are_refused():
    points, label = codes(10, 2)
    points[3, 1] = torch.nan
    with pytest.raises(UserError, match="finite"):
        scatter_by_class(points, label, [], "")
