import numpy as np
import pytest
import torch

from lit_gen.callbacks.class_grid import ClassGrid
from lit_gen.errors import UserError
from tests.callbacks.shown import grid_in


@pytest.fixture
def by_class(linear_model):
    class ByClass(linear_model):
        """Class c has the level c / 4, and noise below a quarter on top."""

        num_classes = 3

        def sample_classes(self, label):
            return label.view(-1, 1, 1, 1) / 4 + torch.rand(len(label), *self.event_shape) / 5

    return ByClass


def test_a_row_for_each_class_and_the_same_noise_in_every_row(make_trainer, by_class, small_data, tmp_path):
    make_trainer(ClassGrid(num_columns=5, every_n_epochs=2), max_epochs=4).fit(by_class(), small_data())
    side = 4 * 16 + 4
    files = sorted((tmp_path / "samples").iterdir())
    first, second = (grid_in(path, 5 * side, 3 * side).astype(int) for path in files)
    assert (first == second).all()
    rows = [first[n * side : (n + 1) * side] for n in range(3)]
    inside = rows[0] < 255
    for number, row in enumerate(rows):
        assert np.abs((row - rows[0] - number * 255 / 4)[inside]).max() <= 1  # rounding
    assert (rows[0][:, :side] != rows[0][:, side : 2 * side]).any()


def test_what_cannot_be_drawn_is_refused_at_once(make_trainer, linear_model, by_class, small_data):
    with pytest.raises(UserError, match=r"ClassGrid can't draw from a LinearModel: it has no sample_classes"):
        make_trainer(ClassGrid()).fit(linear_model(), small_data())
    with pytest.raises(UserError, match=r"has shape \(2,\)"):
        make_trainer(ClassGrid()).fit(by_class((2,)), small_data((2,)))
    for name in ("num_columns", "every_n_epochs"):
        with pytest.raises(UserError, match=name):
            ClassGrid(**{name: 0})
