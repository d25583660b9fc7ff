import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from lit_gen.errors import UserError
from lit_gen.models.frozen import frozen
from lit_gen.models.moving_average import ExponentialMovingAverage
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.networks.feature_network import FeatureNetwork
from lit_gen.networks.instance_noise import InstanceNoise
from lit_gen.networks.layers.minibatch import MinibatchDiscrimination
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.layers.reference_norm import ReferenceBatchNorm, VirtualBatchNorm
from lit_gen.networks.mlp import MLP
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.networks.packed import Packed
from lit_gen.networks.reference import ReferenceBatch
from lit_gen.networks.spectral_norm import SpectralNorm
from lit_gen.protocols import ReadsFeatures, TakesReference

KINDS = [ReferenceBatchNorm, VirtualBatchNorm]


def generator(norm, num_reference=6):
    torch.manual_seed(0)
    network = MLP(2, 3, [16, 16], nn.Tanh, norm=norm)
    if norm is BatchNorm1d:
        return network
    wrapped = ReferenceBatch(network, num_reference)
    wrapped.set_reference(torch.randn(num_reference, 2))
    return wrapped


def discriminator(norm=VirtualBatchNorm, num_reference=4):
    torch.manual_seed(0)
    network = ReferenceBatch(MLPDiscriminator(3, [5, 4], nn.Tanh, norm=norm), num_reference).double()
    network.set_reference(torch.randn(num_reference, 3).double())
    return network


def images(norm=VirtualBatchNorm):
    torch.manual_seed(0)
    network = ReferenceBatch(DCGANDiscriminator((1, 16, 16), base_channels=4, norm=norm), 6)
    network.set_reference(torch.rand(6, 1, 16, 16))
    return network


def beside_companions(network, num=300):
    """(num, 2, 3): what the network in training makes of two latents beside six others, drawn anew each time."""
    pair = torch.tensor([[0.5, -1.0], [0.8, -0.5]])
    with torch.no_grad():
        return torch.stack([network(torch.cat([pair, torch.randn(6, 2)]))[:2] for _ in range(num)])


def test_ordinary_batch_norm_ties_the_examples_of_a_batch_to_each_other():
    y = beside_companions(generator(BatchNorm1d))
    assert y.std(0).min() > 0.05  # one latent's example changes with its companions
    a, b = (y - y.mean(0)).unbind(1)
    correlation = (a * b).mean(0) / (a.square().mean(0) * b.square().mean(0)).sqrt()
    assert correlation.abs().max() > 0.5  # and two of them change together


@pytest.mark.parametrize("norm", KINDS)
def test_an_example_does_not_change_with_its_companions(norm):
    network = generator(norm)
    y = beside_companions(network)
    torch.testing.assert_close(y, y[:1].expand_as(y), rtol=1e-5, atol=1e-6)
    conv, x = images(norm), torch.rand(5, 1, 16, 16)
    torch.testing.assert_close(torch.cat([conv(x[:1]), conv(x[1:])]), conv(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", KINDS)
def test_it_depends_on_the_reference(norm):
    network, z = generator(norm), torch.randn(4, 2)
    before = network(z)
    network.set_reference(network.reference * 3.0)
    assert (network(z) - before).abs().max() > 0.05


@pytest.mark.parametrize("norm", KINDS)
def test_the_first_norm_of_a_generator_sees_the_projected_reference(norm):
    torch.manual_seed(0)
    network = ReferenceBatch(DCGANGenerator(3, (1, 8, 8), base_channels=4, norm=norm), 6)
    network.set_reference(torch.randn(6, 3))
    seen = []
    network.network.layers[1].register_forward_hook(lambda layer, inputs, y: seen.append((inputs[0], y)))
    assert network(torch.randn(2, 3)).shape == (2, 1, 8, 8)
    x, y = seen[0]
    assert torch.equal(x[:6], network.network.layers[0](network.network.project(network.reference)))
    torch.testing.assert_close(y[:6].mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", KINDS)
def test_gradients_go_through_the_reference_too(norm):
    """Numerical differences move the reference's moments with the weights; the gradient must have done the same."""
    network, x = discriminator(norm), torch.randn(3, 3).double()
    names, values = zip(*network.named_parameters(), strict=True)

    def scores(*parameters):
        return functional_call(network, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(scores, values)


@pytest.mark.parametrize("norm", KINDS)
def test_gradients_can_be_differentiated_again(norm):
    network = discriminator(norm)
    x = torch.randn(3, 3).double().requires_grad_()
    assert torch.autograd.gradgradcheck(network, x)
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    norms = [module for module in network.modules() if isinstance(module, norm)]
    assert all(layer.weight.grad.abs().sum() > 0 for layer in norms)


def test_frozen_it_passes_gradients_on_and_takes_none():
    network = discriminator()
    x = torch.randn(3, 3).double().requires_grad_()
    before = network(x)
    with frozen(network):
        scores = network(x)
    assert torch.equal(scores, before)
    scores.sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_called_with_other_parameters_it_computes_what_they_would():
    network, other = discriminator(), discriminator()
    for parameter in other.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 3).double()
    torch.testing.assert_close(functional_call(network, dict(other.named_parameters()), x), other(x))
    assert not torch.allclose(network(x), other(x))


def test_the_reference_is_saved_loaded_and_copied():
    network, fresh = images(), ReferenceBatch(DCGANDiscriminator((1, 16, 16), 4, norm=VirtualBatchNorm), 6)
    x = torch.rand(3, 1, 16, 16)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(x), network(x))
    assert torch.equal(copy.deepcopy(network)(x), network(x))
    average = ExponentialMovingAverage(network, 0.9)
    for _ in range(3):
        average.update_parameters(network)
    assert torch.equal(average.module.reference, network.reference)
    torch.testing.assert_close(average(x), network(x))


def test_a_state_without_a_reference_takes_it_away():
    network, fresh = images(), ReferenceBatch(DCGANDiscriminator((1, 16, 16), 4, norm=VirtualBatchNorm), 6)
    network(torch.rand(3, 1, 16, 16))
    network.load_state_dict(fresh.state_dict())
    with pytest.raises(UserError, match="before set_reference"):
        network(torch.rand(3, 1, 16, 16))


def test_features_are_the_inputs_and_the_batch_is_looked_at_without_the_reference():
    make = lambda features: MinibatchDiscrimination(features, 3, 2)  # noqa: E731
    network = ReferenceBatch(MLPDiscriminator(3, [5], norm=VirtualBatchNorm, minibatch=make), 4)
    assert isinstance(network, TakesReference)
    assert isinstance(network, ReadsFeatures)
    assert network.in_shape == (3,)
    network.set_reference(torch.randn(4, 3))
    x = torch.randn(6, 3)
    assert network.features(x).shape == (6, 5)
    assert torch.equal(network.from_features(network.features(x)), network(x))
    seen = []
    network.network.minibatch.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    network(x)
    assert seen == [6]
    assert not isinstance(generator(VirtualBatchNorm), ReadsFeatures)


def test_packs_of_the_reference_are_the_reference_of_packs():
    torch.manual_seed(0)
    inner = MLPDiscriminator(6, [5], norm=VirtualBatchNorm)
    network = ReferenceBatch(Packed(inner, 2), 8)
    reference, x = torch.randn(8, 3), torch.randn(4, 3)
    network.set_reference(reference)
    scores = network(x)
    assert scores.shape == (2,)
    alone = ReferenceBatch(inner, 4)
    alone.set_reference(reference.view(4, 6))
    torch.testing.assert_close(alone(x.view(2, 6)), scores)


def test_an_uneven_batch_of_packs_is_judged_in_evaluation():
    network = ReferenceBatch(Packed(MLPDiscriminator(6, [5], norm=VirtualBatchNorm), 2), 8).eval()
    network.set_reference(torch.randn(8, 3))
    x = torch.randn(5, 3)
    assert network(x).shape == (3,)
    torch.testing.assert_close(network(x)[:2], network(x[:4]))


def test_other_wrappers_go_around_it():
    network = InstanceNoise(SpectralNorm(images()), 0.0)
    assert isinstance(network, ReadsFeatures)
    assert [type(part) for part in network.modules() if isinstance(part, TakesReference)] == [ReferenceBatch]
    assert network(torch.rand(3, 1, 16, 16)).shape == (3,)


def test_refuses_a_norm_behind_the_features():
    network = FeatureNetwork(MLP(3, 4, [5], norm=VirtualBatchNorm), MLP(4, (), [5], norm=VirtualBatchNorm))
    network.in_shape = (3,)
    network = ReferenceBatch(network, 4)
    network.set_reference(torch.randn(4, 3))
    for _ in range(2):
        with pytest.raises(UserError, match="before the network's features"):
            network(torch.randn(6, 3))
    assert network.features(torch.randn(6, 3)).shape == (6, 4)


def test_refuses_to_work_without_its_reference_and_to_take_another_shape():
    network = ReferenceBatch(MLPDiscriminator(3, [5], norm=VirtualBatchNorm), 4)
    with pytest.raises(UserError, match="before set_reference"):
        network(torch.randn(2, 3))
    with pytest.raises(UserError, match=r"takes \(4, 3\) .* got \(5, 3\)"):
        network.set_reference(torch.randn(5, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReferenceBatch(MLP(2, 3, [4]), 4), "finds neither"),
        (lambda: ReferenceBatch(nn.Sequential(VirtualBatchNorm(3)), 4), "in_shape"),
        (lambda: ReferenceBatch(MLP(2, 3, [4], norm=VirtualBatchNorm), 1), "at least 2"),
        (lambda: ReferenceBatch(Packed(MLPDiscriminator(6, [4], norm=VirtualBatchNorm), 3), 4), "multiple"),
    ],
)
def test_refuses_what_cannot_work(make, message):
    with pytest.raises(UserError, match=message):
        make()
