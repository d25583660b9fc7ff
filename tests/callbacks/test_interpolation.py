import pytest
import torch

from lit_gen.callbacks.interpolation import Interpolation
from lit_gen.callbacks.pictures import image_grid
from lit_gen.errors import UserError
from tests.callbacks.shown import grid_in, shows


def test_each_row_goes_straight_from_one_code_to_the_other(make_trainer, linear_model, small_data, tmp_path):
    model, data = linear_model(), small_data()
    make_trainer(Interpolation(num_pairs=2, num_steps=3), max_epochs=1).fit(model, data)
    with torch.no_grad():
        codes = model.eval().encode(data.x[:4])
        cells = []
        for a, b in ((0, 1), (2, 3)):
            line = torch.stack([codes[a], (codes[a] + codes[b]) / 2, codes[b]])
            cells += [data.x[a : a + 1], model.decode(line), data.x[b : b + 1]]
    picture = tmp_path / "samples" / "interpolation_0000003.png"
    assert shows(picture, image_grid(torch.cat(cells), 5), tolerance=1)  # rounding of the middle


def test_as_many_pairs_as_there_are_examples_for(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(Interpolation(num_steps=2), max_epochs=1).fit(linear_model(), small_data(num=5))
    grid = grid_in(tmp_path / "samples" / "interpolation_0000001.png", 4 * 68, 2 * 68)
    assert (grid[::68] == 255).all() and (grid[:, ::68] == 255).all(), "two rows of four"
    with pytest.raises(UserError, match="at least two validation examples"):
        make_trainer(Interpolation(), max_epochs=1).fit(linear_model(), small_data(num=1))


def test_numbers_out_of_range_are_told():
    for kwargs, message in [
        ({"num_pairs": 0}, "num_pairs of at least 1, got 0"),
        ({"num_steps": 1}, "num_steps of at least 2, got 1"),
    ]:
        with pytest.raises(UserError, match=message):
            Interpolation(**kwargs)
