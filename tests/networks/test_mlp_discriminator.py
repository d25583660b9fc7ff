import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.layers.maxout import Maxout
from lit_gen.networks.layers.minibatch import MinibatchDiscrimination
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.protocols import ReadsFeatures


def test_scores_are_read_off_its_features():
    network = MLPDiscriminator((1, 4, 4), [8, 6], nn.Tanh)
    assert isinstance(network, ReadsFeatures)
    x = torch.rand(5, 1, 4, 4)
    features = network.features(x)
    assert features.shape == (5, 6)
    assert features.abs().max() < 1  # past the activation
    torch.testing.assert_close(features @ network.score.weight[0] + network.score.bias, network(x))
    assert torch.equal(network.from_features(features), network(x))


def test_the_batch_is_looked_at_between_features_and_score():
    network = MLPDiscriminator(2, [8], minibatch=lambda features: MinibatchDiscrimination(features, 3, 2))
    x = torch.randn(5, 2)
    assert network.score.in_features == 11
    torch.testing.assert_close(network.features(x[:2]), network.features(x)[:2])
    assert (network(x[:2]) - network(x)[:2]).abs().max() > 1e-3


def test_the_discriminator_of_pacgan_can_be_said_in_a_config():
    parser = ArgumentParser()
    parser.add_subclass_arguments(nn.Module, "network")
    layers = "lit_gen.networks.layers"
    config = {
        "class_path": "lit_gen.networks.MLPDiscriminator",
        "init_args": {
            "in_shape": 4,
            "hidden_dims": [200, 200, 200],
            "activation": {"class_path": "torch.nn.Identity"},
            "linear": {"class_path": f"{layers}.Maxout", "init_args": {"num_pieces": 5}},
            "minibatch": {"class_path": f"{layers}.MinibatchDiscrimination", "init_args": {"num_kernels": 7}},
        },
    }
    network = parser.instantiate_classes(parser.parse_object({"network": config})).network
    assert [type(layer) for layer in network.layers] == [Maxout, nn.Identity] * 3
    assert all(layer.num_pieces == 5 for layer in network.layers[::2])
    assert [tuple(layer.pieces.weight.shape) for layer in network.layers[::2]] == [(1000, 4), (1000, 200), (1000, 200)]
    assert network.score.in_features == 207


def test_refuses_to_have_no_hidden_layer():
    with pytest.raises(UserError, match="at least one hidden layer"):
        MLPDiscriminator(2, [])
