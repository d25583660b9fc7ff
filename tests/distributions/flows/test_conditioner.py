import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from lit_gen.distributions.flows.conditioner import Conditioner, autoregressive_layers, dense_layers


def make(layers, num_outputs, context_dim=0):
    torch.manual_seed(0)
    network = Conditioner(layers, num_outputs, context_dim).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize("hidden", [[], [3], [16], [9, 7]])
def test_outputs_see_exactly_the_coordinates_before_theirs(hidden):
    network = make(autoregressive_layers(5, 2, hidden), 2)
    found = jacobian(network, torch.randn(5).double())  # (2, 5 outputs, 5 inputs)
    before = torch.ones(5, 5).tril(-1).bool()
    assert (found[:, ~before] == 0).all()
    if hidden != [3]:  # three units cannot pass on four coordinates
        assert (found[:, before] != 0).all()


@pytest.mark.parametrize("hidden", [[], [16], [9, 7]])
def test_every_output_sees_the_context(hidden):
    network = make(autoregressive_layers(5, 2, hidden), 2, 3)
    found = jacobian(lambda context: network(torch.randn(5).double(), context), torch.randn(3).double())
    assert (found != 0).all()


def test_it_starts_as_nothing():
    network = Conditioner(dense_layers(3, 8, [6]), 2, 4)
    assert torch.equal(network(torch.randn(7, 5, 3), torch.randn(5, 4)), torch.zeros(7, 5, 2, 4))


def test_masks_are_not_saved_and_parameters_are():
    network = Conditioner(autoregressive_layers(5, 2, [8]), 2)
    assert set(network.state_dict()) == {f"layers.{i}.{name}" for i in (0, 1) for name in ("weight", "bias")}


def test_half_precision_outputs_are_summed_in_single():
    network = Conditioner(dense_layers(3, 6, [6]), 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.randn(5, 3)).dtype == torch.float32
