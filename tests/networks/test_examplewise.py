import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from lit_gen.networks import MLP, AutoencodingDiscriminator, InstanceNoise, MLPDiscriminator, Packed, SpectralNorm
from lit_gen.networks.examplewise import TORCH_MODULES, is_examplewise
from lit_gen.networks.layers import Maxout, MinibatchStandardDeviation, Tanh


def autoencoder():
    return AutoencodingDiscriminator(MLP(3, 2, [5], Tanh), MLP(2, 3, [5], nn.ELU))


def hooked():
    network = MLP(3, [], [8])
    network.layers[0].register_forward_hook(lambda layer, inputs, output: output - output.mean(0))
    return network


def patched():
    network = MLP(3, [], [8])
    network.forward = lambda x: x.sum(1) - x.mean()
    return network


EXAMPLEWISE = {
    "MLP": lambda: MLP(3, [], [8, 8], nn.LeakyReLU),
    "MLP with layer norm": lambda: MLP(3, [], [8], norm=nn.LayerNorm),
    "MLP of maxout": lambda: MLP(3, [], [8], nn.Identity, linear=Maxout),
    "MLPDiscriminator": lambda: MLPDiscriminator(3, [8]),
    "AutoencodingDiscriminator": autoencoder,
}
OTHERS = {
    "batch norm": lambda: MLP(3, [], [8], norm=nn.BatchNorm1d),
    "minibatch features": lambda: MLPDiscriminator(3, [8], minibatch=MinibatchStandardDeviation),
    "dropout": lambda: MLP(3, [], [8], activation=nn.Dropout),
    "packs": lambda: Packed(MLP(6, [], [8])),
    "instance noise": lambda: InstanceNoise(MLP(3, [], [8])),
    "spectral norm": lambda: SpectralNorm(MLP(3, [], [8])),
    "a layer that is parametrized": lambda: MLP(
        3, [], [8], linear=lambda a, b: parametrizations.weight_norm(nn.Linear(a, b))
    ),
    "a layer that is hooked": lambda: MLP(3, [], [8], linear=lambda a, b: spectral_norm(nn.Linear(a, b))),
    "a subclass": lambda: Centred(3, [], [8]),
    "a part that is hooked": hooked,
    "a forward of its own": patched,
    "rows taken together": lambda: nn.Sequential(nn.Unflatten(0, (-1, 2)), nn.Flatten(1), nn.Linear(6, 1)),
    "rows flattened": lambda: nn.Flatten(0),
    "a network that is not known": lambda: Unknown(),
}


class Centred(MLP):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class Unknown(nn.Module):
    def forward(self, x):
        return x.sum(1)


@pytest.mark.parametrize("name", EXAMPLEWISE)
def test_two_batches_run_as_one_give_what_they_give_alone(name):
    torch.manual_seed(0)
    network, a, b = EXAMPLEWISE[name]().train(), torch.randn(4, 3), torch.randn(6, 3)
    assert is_examplewise(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.testing.assert_close(network(torch.cat([a, b])), torch.cat([network(a), network(b)]))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("module", TORCH_MODULES)
def test_the_modules_of_torch_do_what_is_said_of_them(module):
    torch.manual_seed(0)
    sizes = {nn.Linear: (4, 3), nn.LayerNorm: (4,), nn.Unflatten: (1, (2, 2))}
    layer, a, b = module(*sizes.get(module, ())).train(), torch.randn(5, 4), torch.randn(2, 4)
    assert is_examplewise(layer)
    torch.testing.assert_close(layer(torch.cat([a, b])), torch.cat([layer(a), layer(b)]))


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_may_mix_examples_is_not(name):
    assert not is_examplewise(OTHERS[name]())
