import numpy as np
import pytest
from PIL import Image

from lit_gen.callbacks.captions import LEAST_TITLE_WIDTH, labelled, titled


def ink(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L")) < 128


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("width", [30, 900])
def test_a_titled_picture_is_unchanged_below_its_title(mode, width):
    picture = Image.effect_noise((width, 50), 100).convert(mode)
    result = titled(picture, "samples, " + "a long title " * 40 + "\nsecond line")
    assert result.mode == mode and result.width == max(width, LEAST_TITLE_WIDTH)
    assert (np.asarray(result)[-50:, :width] == np.asarray(picture)).all()
    above = ink(result)[:-50]
    assert above.any()
    assert not above[:, -2:].any() and not above[-1].any(), "the title is wrapped and ends above the picture"
    assert titled(picture, "one").height < result.height


def test_labels_stand_beside_their_rows_and_above_their_columns():
    grid = Image.new("L", (4 * 70, 3 * 70), 200)
    result = labelled(grid, 4, 3, ["data", "", "PCA"], ["a", "b", "", "c"])
    left, top = result.width - grid.width, result.height - grid.height
    assert (np.asarray(result)[top:, left:] == 200).all()
    beside = ink(result)[top:, :left].any(1).reshape(3, 70)
    assert beside.any(1).tolist() == [True, False, True]
    assert abs(beside[0].nonzero()[0].mean() - 35) < 5, "in the middle of the row"
    above = ink(result)[:top, left:].any(0).reshape(4, 70)
    assert above.any(1).tolist() == [True, True, False, True]
    assert abs(above[0].nonzero()[0].mean() - 35) < 5


def test_without_labels_a_grid_stays_as_it_is():
    grid = Image.new("RGB", (20, 20), "red")
    assert np.array_equal(np.asarray(labelled(grid, 2, 2)), np.asarray(grid))


def test_a_label_reaches_over_columns_without_one():
    grid = Image.new("L", (6 * 60, 60), 200)
    above = ink(labelled(grid, 6, 1, columns=["query", "", "by the code", "", "", ""]))[:-60].any(0).reshape(6, 60)
    assert above.any(1).tolist() == [True, False, True, True, False, False]
    cut = ink(labelled(grid, 6, 1, columns=["query and more of it", "by the code", "", "", "", ""]))[:-60].any(0)
    assert not cut[56:60].any(), "cut short before the next one"


@pytest.mark.parametrize("cells", [40, 200])
def test_labels_that_have_no_room_are_left_out_evenly(cells):
    grid = Image.new("L", (cells * 8, cells * 8), 200)
    names = [f"{number / cells:.3f}" for number in range(cells)]
    result = labelled(grid, cells, cells, names, names)
    left, top = result.width - grid.width, result.height - grid.height
    gaps = np.diff(np.flatnonzero(np.diff(ink(result)[top:, : left - 2].any(1).astype(int)) == 1))
    assert len(gaps) > 5 and gaps.min() >= 8 and gaps.max() - gaps.min() <= 3
    assert ink(result)[:top, left:].any()


def test_a_label_of_any_length_or_script_leaves_room_for_the_grid():
    grid = Image.new("L", (64, 64), 200)
    result = labelled(grid, 1, 1, ["Überschrift, λόγος, слово, 文字 \udce9\x07 " * 20], ["x" * 300])
    assert result.width < 64 + 300
