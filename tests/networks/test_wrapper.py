"""Wrappers around each other, over every order and every kind of network within."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

from lit_gen.networks.autoencoding import AutoencodingDiscriminator
from lit_gen.networks.instance_noise import InstanceNoise
from lit_gen.networks.mlp import MLP
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.networks.packed import Packed
from lit_gen.networks.spectral_norm import SpectralNorm
from lit_gen.networks.wrapper import Wrapper
from lit_gen.protocols import ReadsFeatures, Reconstructs

WRAPPERS = {"noise": lambda n: InstanceNoise(n, 0.1), "packed": lambda n: Packed(n, 2), "spectral": SpectralNorm}
INNER = {
    "features": lambda: MLPDiscriminator(6, [5]),
    "autoencoder": lambda: AutoencodingDiscriminator(MLP(6, 2, [4]), MLP(2, 6, [4])),
    "plain": lambda: MLP(6, (), [4]),
}


def wrapped(order, inner):
    torch.manual_seed(0)
    network = INNER[inner]()
    for name in order:
        network = WRAPPERS[name](network)
    return network


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("order", itertools.permutations(WRAPPERS), ids="-".join)
def test_in_every_order_they_can_do_what_the_network_can(order, inner):
    network = wrapped(order, inner).eval()
    x = torch.randn(4, 3)
    assert network.in_shape == (3,)
    assert network.num_packed == 2
    assert network(x).shape == (2,)
    assert isinstance(network, ReadsFeatures) == (inner == "features")
    assert isinstance(network, Reconstructs) == (inner == "autoencoder")
    assert hasattr(network, "judge") == (inner == "autoencoder")
    if inner == "features":
        assert network.features(x).shape == (2, 5)
        torch.testing.assert_close(network.from_features(network.features(x)), network(x))
    if inner == "autoencoder":
        assert network.reconstruct(x).shape == (4, 3)
        torch.testing.assert_close(network.judge(x).scores, network(x))


def test_a_copy_has_the_methods_of_its_own_weights():
    network = InstanceNoise(MLPDiscriminator(6, [5]), 0.1).eval()
    x = torch.randn(4, 6)
    before = network.features(x)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other.features(x), before)
        nn.init.zeros_(other.network.layers[0].weight)
        nn.init.zeros_(other.network.layers[0].bias)
        assert not other.features(x).any()
    assert torch.equal(network.features(x), before)


def test_alone_it_changes_nothing():
    network = MLPDiscriminator(6, [5])
    x = torch.randn(4, 6)
    assert torch.equal(Wrapper(network)(x), network(x))
