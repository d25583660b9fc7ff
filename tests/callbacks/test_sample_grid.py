import pytest
import torch
from PIL import Image

from lit_gen.callbacks.sample_grid import SampleGrid
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from tests.callbacks.shown import grid_in


def names(folder):
    return sorted(path.name for path in (folder / "samples").iterdir())


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_picture_at_the_start_and_after_every_nth_epoch(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(SampleGrid(every_n_epochs=2), max_epochs=4).fit(linear_model(), small_data())
    assert names(tmp_path) == ["samples_0000000.png", "samples_0000006.png", "samples_0000012.png"]


def test_no_picture_at_the_start_unless_asked(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(SampleGrid(at_start=False), max_epochs=1).fit(linear_model(), small_data())
    assert names(tmp_path) == ["samples_0000003.png"]


def test_every_picture_starts_from_the_same_noise(make_trainer, linear_model, small_data, tmp_path):
    model = linear_model()
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.0)
    make_trainer(SampleGrid(), max_epochs=2).fit(model, small_data())
    side = 8 * 68
    pictures = [grid_in(file, side, side) for file in sorted((tmp_path / "samples").iterdir())]
    assert len(pictures) == 3 and all((picture == pictures[0]).all() for picture in pictures)
    make_trainer(SampleGrid(seed=1), max_epochs=1).fit(model, small_data())
    assert (grid_in(tmp_path / "samples" / "samples_0000000.png", side, side) != pictures[0]).any()


def test_training_is_the_same_with_and_without_pictures(make_trainer, linear_model, small_data):
    after = []
    for callbacks in ([], [SampleGrid()]):
        torch.manual_seed(3)
        model = linear_model()
        make_trainer(*callbacks).fit(model, small_data())
        after.append(weights(model))
        after.append(torch.rand(3))
    assert (after[0] == after[2]).all()


def test_samples_are_drawn_in_evaluation_mode_and_the_modes_come_back(make_trainer, linear_model, small_data):
    seen = []

    class Watched(linear_model):
        def sample(self, num_samples):
            seen.append((self.training, self.dropout.training, torch.is_grad_enabled(), num_samples))
            return super().sample(num_samples)

        def on_train_start(self):
            self.dropout.eval()
            return super().on_train_start()

        def on_train_epoch_end(self):
            seen.append((self.training, self.encoder.training, self.dropout.training))

    # Lightning calls the model's on_train_start and on_train_epoch_end after the callbacks'.
    make_trainer(SampleGrid(num_samples=9), max_epochs=1).fit(Watched(), small_data())
    assert seen == [(False, False, False, 9), (False, False, False, 9), (True, True, False)]


def test_points_are_drawn_beside_the_data(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(SampleGrid(num_points=50), max_epochs=1).fit(linear_model((2,)), small_data((2,), num=100))
    width, height = Image.open(tmp_path / "samples" / "samples_0000000.png").size
    assert width == 1200 and height > 620


def test_a_model_without_samples_is_refused_at_once(make_trainer, linear_model, small_data):
    class Plain(GenerativeModel):
        configure_optimizers = linear_model.configure_optimizers
        training_step = linear_model.training_step

    with pytest.raises(UserError, match="can't draw from a Plain"):
        make_trainer(SampleGrid()).fit(Plain(), small_data())


def test_counts_below_one_are_refused():
    with pytest.raises(UserError, match="num_samples of at least 1, got 0"):
        SampleGrid(num_samples=0)
