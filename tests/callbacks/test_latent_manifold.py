import pytest
import torch
from PIL import Image

from lit_gen.callbacks.latent_manifold import LatentManifold
from lit_gen.callbacks.pictures import image_grid
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from tests.callbacks.shown import shows


def test_the_grid_decodes_the_priors_quantiles_right_and_up(make_trainer, linear_model, small_data, tmp_path):
    model = linear_model()
    make_trainer(LatentManifold(num_per_side=3), max_epochs=1).fit(model, small_data())
    quantile = torch.distributions.Normal(0.0, 1.0).icdf
    z = [[quantile(torch.tensor((column + 0.5) / 3)), quantile(torch.tensor((2.5 - row) / 3))]
         for row in range(3) for column in range(3)]  # fmt: skip
    with torch.no_grad():
        expected = image_grid(model.eval().decode(torch.tensor(z)), 3, padding=0)
    assert shows(tmp_path / "samples" / "manifold_0000003.png", expected)


def test_points_are_drawn_too(make_trainer, linear_model, small_data, tmp_path):
    make_trainer(LatentManifold(), max_epochs=1).fit(linear_model((2,)), small_data((2,)))
    width, height = Image.open(tmp_path / "samples" / "manifold_0000003.png").size
    assert width == 600 and height > 620


def test_another_dimension_is_refused_before_training(make_trainer, linear_model, small_data):
    model = linear_model(dim=3)
    with pytest.raises(UserError, match="2 dimensions, not of 3"):
        make_trainer(LatentManifold()).fit(model, small_data())
    assert model.trainer.global_step == 0


def test_a_prior_without_quantiles_is_refused_before_training(make_trainer, linear_model, small_data):
    class Mixture(linear_model):
        def prior_quantile(self, probability):
            raise UserError("no quantiles")

    model = Mixture()
    with pytest.raises(UserError, match="no quantiles"):
        make_trainer(LatentManifold()).fit(model, small_data())
    assert model.trainer.global_step == 0


def test_a_model_without_quantiles_is_refused(make_trainer, linear_model, small_data):
    class CodesAlone(GenerativeModel):
        encode = linear_model.encode
        decode = linear_model.decode
        configure_optimizers = linear_model.configure_optimizers
        training_step = linear_model.training_step

    with pytest.raises(UserError, match=r"prior_quantile\(p\)"):
        make_trainer(LatentManifold()).fit(CodesAlone(), small_data())
