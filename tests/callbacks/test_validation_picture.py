"""What traversals and interpolations share."""

import pytest
import torch

from lit_gen.callbacks.interpolation import Interpolation
from lit_gen.callbacks.latent_traversal import LatentTraversal
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel


@pytest.fixture(params=[LatentTraversal, Interpolation])
def callback(request):
    return request.param


def test_pictures_are_saved_every_n_epochs_and_change_no_training(
    callback, make_trainer, linear_model, small_data, tmp_path
):
    weights = []
    for callbacks in ([callback(every_n_epochs=2)], []):
        torch.manual_seed(0)
        model = linear_model()
        make_trainer(*callbacks, max_epochs=4).fit(model, small_data())
        assert model.training or not callbacks
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*weights)
    saved = [path.name for path in (tmp_path / "samples").iterdir()]
    assert sorted(saved) == [f"{callback.name}_0000006.png", f"{callback.name}_0000012.png"]


def test_points_models_without_codes_and_codes_that_are_no_vectors_are_refused(
    callback, make_trainer, linear_model, small_data
):
    with pytest.raises(UserError, match=r"draws images, not examples of shape \(2,\)"):
        make_trainer(callback()).fit(linear_model((2,)), small_data((2,)))

    class NoCodes(GenerativeModel):
        configure_optimizers = linear_model.configure_optimizers
        training_step = linear_model.training_step

    with pytest.raises(UserError, match=r"encode\(x\) and decode\(z\), which a NoCodes hasn't"):
        make_trainer(callback()).fit(NoCodes(), small_data())

    class Maps(linear_model):
        def encode(self, x):
            return super().encode(x)[:, None]

        def decode(self, z):
            return super().decode(z[:, 0])

    with pytest.raises(UserError, match=r"codes have shape \(1, 2\)"):
        make_trainer(callback(), max_epochs=1).fit(Maps(), small_data())
    with pytest.raises(UserError, match="every_n_epochs of at least 1, got 0"):
        callback(every_n_epochs=0)
