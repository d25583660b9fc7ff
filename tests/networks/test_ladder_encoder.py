import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.ladder_encoder import LadderEncoder


def test_each_layers_parameters_are_affine_in_the_features_of_its_rung():
    encoder, x = LadderEncoder((1, 4, 4), [3, 2], [[8, 7], [6]], torch.nn.Tanh), torch.rand(5, 1, 4, 4)
    first = encoder.rungs[0](x)
    second = encoder.rungs[1](first)
    assert (first.shape, second.shape) == ((5, 7), (5, 6))
    params = encoder(x)
    assert params.shape == (5, 2, 5)
    assert torch.equal(params[..., :3], encoder.estimates[0](first))
    assert torch.equal(params[..., 3:], encoder.estimates[1](second))


@pytest.mark.parametrize("hidden_dims", [[[8]], [[8], []], [[8], [6], [4]]])
def test_one_list_of_widths_a_layer(hidden_dims):
    with pytest.raises(UserError, match="at least one width for each of its 2 latent_dims"):
        LadderEncoder((1, 4, 4), [3, 2], hidden_dims)
