import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.layers.maxout import Maxout
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.mlp import MLP


@pytest.mark.parametrize(
    ("in_shape", "out_shape", "params", "expected"),
    [
        ((1, 4, 4), 3, 1, (5, 3)),
        ((1, 4, 4), 3, 2, (5, 2, 3)),
        (3, (1, 4, 4), 1, (5, 1, 4, 4)),
        (3, (1, 4, 4), 2, (5, 2, 1, 4, 4)),
        (2, (), 1, (5,)),
    ],
)
def test_maps_shapes(in_shape, out_shape, params, expected):
    network = MLP(in_shape, out_shape, [6], params_per_output=params)
    x = torch.randn(5, *network.in_shape)
    assert network(x).shape == expected


def test_without_hidden_layers_it_is_affine():
    network = MLP(3, 2, [])
    a, b = torch.randn(2, 4, 3)
    torch.testing.assert_close(network(a + b) - network(b), network(a) - network(torch.zeros(4, 3)))


def test_the_activation_follows_each_hidden_layer_and_not_the_output():
    network = MLP(3, 2, [5, 4], activation=nn.Tanh)
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]


def test_params_come_before_the_event_in_the_output():
    network = MLP(1, (2, 3), [], params_per_output=2)
    nn.init.zeros_(network.layers[0].weight)
    network.layers[0].bias.data = torch.arange(12.0)
    first, second = network(torch.zeros(1, 1)).unbind(1)
    assert first.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert second.flatten().tolist() == [6, 7, 8, 9, 10, 11]


def test_refuses_an_empty_dimension():
    with pytest.raises(UserError, match="at least 1"):
        MLP((1, 0, 4), 3, [6])


def test_an_output_activation_ends_it_and_an_initialisation_reaches_every_matrix():
    network = MLP(3, 2, [5], nn.Tanh, output_activation=nn.Sigmoid, weight_init=nn.init.ones_)
    assert [type(layer) for layer in network.layers] == [nn.Linear, nn.Tanh, nn.Linear, nn.Sigmoid]
    h = torch.full((1, 5), 0.6).tanh()
    torch.testing.assert_close(network(torch.full((1, 3), 0.2)), h.sum().sigmoid().expand(1, 2))


def test_hidden_layers_and_their_norms_are_parts_handed_in():
    network = MLP(3, 2, [5, 4], nn.Tanh, linear=lambda before, after: Maxout(before, after, 2), norm=BatchNorm1d)
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [Maxout, BatchNorm1d, nn.Tanh] * 2 + [nn.Linear]
    assert [network.layers[1].num_features, network.layers[4].num_features] == [5, 4]


def test_an_initialisation_reaches_the_matrices_within_a_hidden_layer():
    network = MLP(3, 2, [5], nn.Identity, weight_init=nn.init.ones_, linear=Maxout)
    torch.testing.assert_close(network(torch.ones(1, 3)), torch.full((1, 2), 15.0))


def test_names_in_the_state_dict_are_those_of_old_checkpoints():
    names = MLP(3, 2, [5, 4], nn.Tanh, output_activation=nn.Sigmoid).state_dict().keys()
    assert list(names) == [f"layers.{n}.{part}" for n in (0, 2, 4) for part in ("weight", "bias")]


def test_the_generator_of_pacgan_can_be_said_in_a_config():
    parser = ArgumentParser()
    parser.add_subclass_arguments(nn.Module, "network")
    config = {
        "class_path": "lit_gen.networks.MLP",
        "init_args": {
            "in_shape": 2,
            "out_shape": 2,
            "hidden_dims": [400, 400, 400, 400],
            "norm": {"class_path": "lit_gen.networks.layers.BatchNorm1d"},
        },
    }
    network = parser.instantiate_classes(parser.parse_object({"network": config})).network
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [nn.Linear, BatchNorm1d, nn.ReLU] * 4 + [nn.Linear]
