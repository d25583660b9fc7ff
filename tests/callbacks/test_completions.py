import itertools

import numpy as np
import pytest
import torch

from lit_gen.callbacks.completions import Completions
from lit_gen.callbacks.pictures import image_grid
from lit_gen.errors import UserError
from tests.callbacks.shown import grid_in


@pytest.fixture
def completing(linear_model):
    class Completing(linear_model):
        """Doubles what is given, the upper half, and adds noise."""

        def visible(self, x, label=None):
            assert label is not None
            return torch.cat([x[:, :, :2], torch.full_like(x[:, :, 2:], 0.5)], 2)

        def complete(self, x, num_samples, label=None):
            rest = x[:, :, :2] / 2 + torch.rand(num_samples, len(x), 1, 1, 1) / 4
            return torch.cat([x[:, :, :2].expand_as(rest), rest], 3)

    return Completing


def test_a_row_has_the_given_part_completions_and_the_truth(make_trainer, completing, small_data, tmp_path):
    data = small_data(batch_size=3)
    make_trainer(Completions(num_examples=5, num_completions=4, every_n_epochs=2), max_epochs=4).fit(completing(), data)
    side = 4 * 16 + 4
    first, second = (grid_in(path, 6 * side, 5 * side) for path in sorted((tmp_path / "samples").iterdir()))
    assert (first == second).all()  # of the same noise, for this model doesn't learn
    x = data.x[:5]
    given = torch.cat([x[:, :, :2], torch.full_like(x[:, :, 2:], 0.5)], 2)
    assert (first[:, :side] == np.asarray(image_grid(given, 1))).all()
    assert (first[:, -side:] == np.asarray(image_grid(x, 1))).all()
    middle = [first[:, n * side : (n + 1) * side] for n in range(1, 5)]
    assert all((column[: side // 2] == first[: side // 2, :side]).all() for column in middle)
    assert all((a != b).any() for a, b in itertools.pairwise(middle))


def test_what_cannot_be_drawn_is_refused_at_once(make_trainer, linear_model, completing, small_data):
    with pytest.raises(UserError, match="Completions needs a model with visible"):
        make_trainer(Completions()).fit(linear_model(), small_data())
    with pytest.raises(UserError, match=r"has shape \(2,\)"):
        make_trainer(Completions()).fit(completing((2,)), small_data((2,)))
    for name in ("num_examples", "num_completions", "every_n_epochs"):
        with pytest.raises(UserError, match=name):
            Completions(**{name: 0})
