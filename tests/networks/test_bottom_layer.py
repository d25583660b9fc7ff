import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.bottom_layer import BottomLayer
from lit_gen.networks.mlp import MLP


def test_it_reads_the_lowest_layer_alone():
    network = MLP(3, (1, 4, 4), [5])
    decoder, z = BottomLayer(network, dim_above=2), torch.randn(6, 5)
    assert decoder.in_shape == (5,)
    assert torch.equal(decoder(z), network(z[:, :3]))
    z[:, 3:] += 1.0
    assert torch.equal(decoder(z), network(z[:, :3]))


def test_its_output_bias_is_the_networks():
    decoder = BottomLayer(MLP(3, (1, 4, 4), [5]), 2)
    with torch.no_grad():
        decoder.output_bias.fill_(7.0)
    assert (decoder.network.layers[-1].bias == 7.0).all()
    network = nn.Flatten()
    network.in_shape = (3,)
    assert not hasattr(BottomLayer(network, 2), "output_bias")


def test_a_network_without_in_shape_is_refused():
    with pytest.raises(UserError, match="an in_shape, which a Linear hasn't"):
        BottomLayer(nn.Linear(3, 4), 2)
