import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lit_gen.errors import UserError
from lit_gen.models.frozen import frozen
from lit_gen.networks.dcgan import DCGANGenerator
from lit_gen.networks.layers.maxout import Maxout
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.networks.resnet import ResNetDiscriminator
from lit_gen.networks.spectral_norm import SpectralNorm
from lit_gen.protocols import ReadsFeatures

NETWORKS = {
    "maxout": lambda: MLPDiscriminator(4, [6, 6], nn.Identity, linear=Maxout),
    "resnet": lambda: ResNetDiscriminator((1, 16, 16), base_channels=4),
    "dcgan_generator": lambda: DCGANGenerator(5, (1, 16, 16), base_channels=4),
}


def build(name="resnet", seed=0):
    torch.manual_seed(seed)
    return SpectralNorm(NETWORKS[name]())


def example(network, num=4):
    return torch.rand(num, *network.in_shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weights_largest_singular_value_is_one(name):
    network = build(name)
    for parameter in network.parameters():
        parameter.data *= 3.0
    x = example(network)
    with torch.no_grad():
        for _ in range(200):
            network(x)
    network.eval()
    count = 0
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight = layer.weight
            if isinstance(layer, nn.ConvTranspose2d):
                weight = weight.transpose(0, 1)  # output channels first
            largest = torch.linalg.matrix_norm(weight.flatten(1), 2)
            torch.testing.assert_close(largest, torch.tensor(1.0), rtol=2e-3, atol=0)
            original = layer.parametrizations.weight.original
            torch.testing.assert_close(
                layer.weight / layer.weight.norm(), original / original.norm()
            )  # only its scale has changed
            count += 1
    assert count == {"maxout": 3, "resnet": 4 * 2 + 3 - 1 + 1, "dcgan_generator": 3}[name]


def test_a_vector_network_is_lipschitz():
    network = build("maxout").eval()
    with torch.no_grad():
        network.train()
        for _ in range(100):
            network(example(network))
        network.eval()
        a, b = torch.randn(2, 500, 4)
        assert ((network(a) - network(b)).abs() <= 1.001 * (a - b).norm(dim=1)).all()


def test_a_checkpoint_brings_everything_back():
    network, other = build(), build(seed=1)
    x = example(network)
    network(x)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.eval()(x), network.eval()(x))
    assert torch.equal(other.train()(x), network.train()(x))  # the power method goes on from the same vectors
    assert torch.equal(copy.deepcopy(network).eval()(x), network.eval()(x))


def test_frozen_it_passes_gradients_on_and_takes_none():
    network = build().eval()
    x = example(network).requires_grad_()
    before = network(x)
    with frozen(network):
        scores = network(x)
    assert torch.equal(scores, before)
    scores.sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_real_and_fake_in_training_mode_make_one_differentiable_loss():
    network = build()
    real, fake = example(network), 1.0 - example(network)
    real.requires_grad_()
    loss = network(fake).mean() - network(real).mean()
    (gradient,) = torch.autograd.grad(loss, real, create_graph=True)
    (loss + gradient.square().sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in network.named_parameters() if "weight" in name)


def test_called_with_other_parameters_it_computes_what_they_would():
    network, other = build().eval(), build(seed=1).eval()
    x = example(network)
    state = dict(other.named_parameters()) | dict(other.named_buffers())
    torch.testing.assert_close(functional_call(network, state, x), other(x))
    assert not torch.allclose(network(x), other(x))


def test_features_are_there_where_the_network_has_them():
    network = build()
    assert isinstance(network, ReadsFeatures)
    assert network.in_shape == (1, 16, 16)
    assert network.eval().features(example(network)).shape == (4, 4)
    assert not isinstance(build("dcgan_generator"), ReadsFeatures)


def test_refuses_a_network_without_weights_and_no_iterations():
    with pytest.raises(UserError, match="finds no linear map"):
        SpectralNorm(nn.Tanh())
    with pytest.raises(UserError, match="at least 1"):
        SpectralNorm(nn.Linear(2, 2), num_iterations=0)
