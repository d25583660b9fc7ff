import pytest
import torch

from lit_gen.callbacks.latent_traversal import LatentTraversal
from lit_gen.callbacks.pictures import image_grid
from lit_gen.errors import UserError
from tests.callbacks.shown import shows


def test_each_row_moves_one_coordinate_of_the_examples_code(make_trainer, linear_model, small_data, tmp_path):
    model, data = linear_model(dim=3), small_data()
    make_trainer(LatentTraversal(num_values=3, limit=2.0, example=9), max_epochs=1).fit(model, data)
    x = data.x[9:10]
    with torch.no_grad():
        (code,) = model.eval().encode(x)
        cells = []
        for row in range(3):
            cells.append(x)
            for value in (-2.0, 0.0, 2.0):
                moved = code.clone()
                moved[row] = value
                cells.append(model.decode(moved[None]))
    assert shows(tmp_path / "samples" / "traversal_0000003.png", image_grid(torch.cat(cells), 4))


def test_numbers_out_of_range_are_told():
    for kwargs, message in [
        ({"num_values": 1}, "num_values of at least 2, got 1"),
        ({"limit": 0.0}, "limit above 0, got 0"),
        ({"example": -1}, "example of at least 0, got -1"),
    ]:
        with pytest.raises(UserError, match=message):
            LatentTraversal(**kwargs)
