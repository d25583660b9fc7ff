"""Charts: what is drawn where."""

import math

import numpy as np
import pytest
import torch

from lit_gen.callbacks import charts
from lit_gen.callbacks.charts import curves_and_samples, histograms, square_around, strip, surface
from lit_gen.errors import UserError


def ink(image, columns=slice(None)):
    """Share of the pixels that aren't white."""
    return (np.asarray(image)[:, columns] < 250).any(-1).mean()


def blue(image, columns):
    """Number of blue pixels."""
    picture = np.asarray(image)[:, columns].astype(int)
    return (picture[..., 2] - picture[..., 0] > 40).sum()


def test_histograms_stand_where_their_values_are():
    low = histograms({"a": torch.full((9,), 0.05)}, "p", (0.0, 1.0))
    high = histograms({"a": torch.full((9,), 0.95)}, "p", (0.0, 1.0))
    middle = np.asarray(low).shape[1] // 2
    left = slice(80, middle - 60)
    assert blue(low, left) > 10 * max(blue(high, left), 1)
    assert low.size == high.size and low != high


def test_histograms_of_nothing_and_of_what_is_not_finite():
    x = torch.tensor([0.1, 0.2, 0.9])
    broken = torch.cat([x, torch.tensor([math.nan, math.inf])])
    assert histograms({"a": x}, "score") == histograms({"a": broken}, "score")
    assert ink(histograms({"a": torch.full((2,), math.nan), "b": x[:0]}, "score")) > 0


def test_a_surface_is_oriented_as_the_plane():
    axis = torch.linspace(0, 1, 20)
    none = torch.empty(0, 2)
    # Rises to the right: the left is red, the right blue (the colour map's ends).
    picture = np.asarray(surface(axis, axis, axis[None].expand(20, 20), none, none, "D(x)")).astype(int)
    height, width, _ = picture.shape
    redness = picture[..., 0] - picture[..., 2]
    assert redness[height // 2, width // 4] > 50 and redness[height // 2, width // 2 + 60] < 0
    # Rises upwards: the top is blue.
    picture = np.asarray(surface(axis, axis, axis[:, None].expand(20, 20), none, none, "D(x)")).astype(int)
    redness = picture[..., 0] - picture[..., 2]
    assert redness[height // 4, width // 3] < 0 and redness[3 * height // 4, width // 3] > 50
    with pytest.raises(UserError, match="diverged"):
        surface(axis, axis, torch.full((20, 20), math.nan), none, none, "score")


def test_curves_and_samples_take_no_sample_at_all():
    axis = torch.linspace(-1, 1, 20)
    picture = curves_and_samples(axis, {"p": axis.square()}, axis, axis[:0], {"D(x)": axis.sigmoid()})
    assert ink(picture) > 0.01


def test_a_strip_has_a_panel_of_equal_axes_for_each():
    ring = torch.stack([torch.linspace(0, 6.28, 500).cos(), torch.linspace(0, 6.28, 500).sin()], 1)
    same = np.asarray(strip({"a": ring, "b": ring.clone()}))
    far = np.asarray(strip({"a": ring, "b": ring + 100}))
    left, right = same.shape[1] // 2 - 8, same.shape[1] // 2 + 8
    assert (same[40:, :left] == far[40:, :left]).all() and (same[:, right:] != far[:, right:]).any()
    wide = strip({"a": ring, "b": ring, "c": ring * math.nan})
    assert wide.size[0] == pytest.approx(1.5 * same.shape[1], rel=0.01)
    assert ink(strip({"data": ring[:, :1], "step 0": ring[:, :1] + 100})) > 0.01


def test_square_around():
    assert square_around(torch.tensor([[0.0, 1.0], [10.0, 3.0]])) == [(-2, 12), (-5, 9)]
    ((low, high),) = square_around(torch.zeros(3, 1))
    assert low < 0 < high


def test_curves_have_a_panel_for_each_term_and_far_apart_values_a_logarithmic_axis(monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "_image", lambda figure: drawn.append(figure))
    falling = charts.Curve(np.arange(40.0), np.geomspace(1e3, 1, 40))
    flat = charts.Curve(np.array([39.0]), np.array([-1.0]))
    gap = charts.Curve(np.arange(3.0), np.array([1.0, np.nan, np.inf]))
    panels = {"loss": {"train": falling}, "kl": {"train": falling, "val": flat}, "c": {"val": gap}, "d": {"val": gap}}
    charts.curves(panels, "step", {"kl": "nats"})
    axes = drawn[0].axes
    assert [axis.get_title() for axis in axes] == list(panels)
    assert [axis.get_yscale() for axis in axes] == ["log", "linear", "linear", "linear"]
    assert [axis.get_ylabel() for axis in axes] == ["", "nats", "", ""]
    assert [len(axis.get_lines()) for axis in axes] == [1, 2, 1, 1]
    assert {axis.get_xlabel() for axis in axes} == {"step"}
    assert len({axis.get_xlim() for axis in axes}) == 1, "one course of training"
