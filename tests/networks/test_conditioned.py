import pytest
import torch
from torch import nn

from lit_gen.networks.conditioned import Conditioned, ConditionedMLP
from lit_gen.networks.conv import ConvEncoder
from lit_gen.networks.mlp import MLP


def test_the_perceptron_sees_input_and_condition_side_by_side():
    torch.manual_seed(0)
    network = ConditionedMLP((1, 2, 2), 3, (1, 2), [5], activation=nn.Tanh, params_per_output=2)
    plain = MLP(7, (1, 2), [5], nn.Tanh, params_per_output=2)
    plain.load_state_dict(network.state_dict())
    x, c = torch.rand(6, 1, 2, 2), torch.rand(6, 3)
    torch.testing.assert_close(network(x, c), plain(torch.cat([x.flatten(1), c], 1)))
    assert network(x, c).shape == (6, 2, 1, 2)
    assert (network.in_shape, network.condition_shape) == ((1, 2, 2), (3,))
    assert network.output_bias.shape == (2, 1, 2)
    assert (network(x, c) != network(x, c.flip(1))).all()


def test_an_image_gets_the_condition_as_channels():
    torch.manual_seed(0)
    x = torch.rand(4, 1, 8, 8)
    network = Conditioned(ConvEncoder((4, 8, 8), 3, base_channels=4))
    c = torch.rand(4, 3)
    maps = c.view(4, 3, 1, 1).repeat(1, 1, 8, 8)
    torch.testing.assert_close(network(x, c), network.network(torch.cat([x, maps], 1)))
    torch.testing.assert_close(network(x, maps), network(x, c))


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_a_vector_gets_the_condition_appended(shape):
    network = Conditioned(nn.Linear(5, 2))
    x, c = torch.rand(4, 2), torch.rand(4, *shape)
    torch.testing.assert_close(network(x, c), network.network(torch.cat([x, c.flatten(1)], 1)))
