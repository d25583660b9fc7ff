"""The partition function by annealing against enumeration, and enumeration against brute force."""

import math

import pytest
import torch

from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
from lit_gen.metrics.ais import (
    BoltzmannMachine,
    ais_log_weights,
    can_enumerate,
    exact_log_partition,
    log_partition,
)
from lit_gen.models.energy.rbm import RBM


def machine(visible, hidden, scale, seed=0):
    torch.manual_seed(seed)
    rbm = RBM(visible, hidden)
    with torch.no_grad():
        rbm.weight.normal_(0.0, scale)
        rbm.visible.bias.normal_(0.0, 0.5)
        rbm.hidden.bias.normal_(0.0, 0.5)
    return rbm


MACHINES = {
    "bernoulli": lambda: machine(BernoulliUnits(16), BernoulliUnits(10), 0.5),
    "bernoulli_wide": lambda: machine(BernoulliUnits(60), BernoulliUnits(12), 0.3),
    "gaussian": lambda: machine(GaussianUnits(6), BernoulliUnits(12), 0.4),
    "gaussian_narrow": lambda: machine(GaussianUnits(6, std=0.5), BernoulliUnits(8), 0.2),
    "linear_hidden": lambda: machine(BernoulliUnits(9), GaussianUnits(4), 0.4),
}


def steps(num):
    return torch.linspace(0, 1, num + 1, dtype=torch.float64)


@pytest.mark.parametrize("name", MACHINES)
def test_annealing_is_within_three_of_its_own_standard_errors_in_95_of_100_seeds(name):
    """A hundred independent sets of 100 chains, run at once."""
    rbm = MACHINES[name]()
    exact = exact_log_partition(rbm)
    torch.manual_seed(1)
    log_weights = ais_log_weights(rbm, torch.zeros_like(rbm.visible.bias), steps(100), 100 * 100)
    estimates = [log_partition(own) for own in log_weights.view(100, 100)]
    errors = torch.stack([(estimate.value - exact) / estimate.standard_error for estimate in estimates])
    assert (errors.abs() <= 3).sum() >= 95
    # The standard errors aren't too great either.
    assert 0.5 < errors.std() < 1.5
    assert max(estimate.standard_error for estimate in estimates) < 0.3


def test_the_mean_weight_is_the_partition_function_whatever_the_base():
    """From two bases and with few temperatures: unbiased in Z."""
    rbm = MACHINES["bernoulli"]()
    exact = exact_log_partition(rbm)
    for base in (torch.zeros(16), rbm.visible.bias.detach() + 0.5):
        torch.manual_seed(2)
        estimate = log_partition(ais_log_weights(rbm, base, steps(20), 10_000))
        assert estimate.standard_error < 0.05
        assert abs(estimate.value - exact) < 4 * estimate.standard_error


def test_few_temperatures_and_great_weights_are_unbiased_too():
    """Whatever the temperatures: an error in what one of them means for a layer is not made up for by many."""
    rbm = machine(BernoulliUnits(5), BernoulliUnits(4), 1.5)
    exact = exact_log_partition(rbm)
    torch.manual_seed(3)
    log_weights = ais_log_weights(rbm, torch.zeros(5), torch.tensor([0.0, 0.4, 0.7, 1.0]), 200_000)
    estimate = log_partition(log_weights)
    assert estimate.standard_error < 0.02
    assert abs(estimate.value - exact) < 4 * estimate.standard_error


def test_without_weights_one_temperature_is_exact():
    rbm = machine(BernoulliUnits(5), BernoulliUnits(3), 0.0)
    log_weights = ais_log_weights(rbm, rbm.visible.bias.detach(), steps(1), 4)
    exact = torch.nn.functional.softplus(torch.cat([rbm.visible.bias, rbm.hidden.bias])).sum()
    torch.testing.assert_close(log_weights, exact.double().expand(4), rtol=1e-6, atol=1e-6)
    estimate = log_partition(log_weights)
    assert estimate.standard_error < 1e-6


def test_more_temperatures_lower_the_error():
    rbm = MACHINES["bernoulli"]()
    errors = []
    for num in (3, 30, 300):
        torch.manual_seed(0)
        errors.append(log_partition(ais_log_weights(rbm, torch.zeros(16), steps(num), 500)).standard_error)
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_log_partition_is_the_mean_of_the_weights_with_its_error():
    weights = torch.tensor([1.0, 2.0, 4.0, 5.0], dtype=torch.float64)
    estimate = log_partition(weights.log() + 1000)
    assert estimate.value.item() == pytest.approx(1000 + math.log(3.0))
    assert estimate.standard_error.item() == pytest.approx(weights.std().item() / 3.0 / 2.0)


@pytest.mark.parametrize(("num_visible", "num_hidden"), [(4, 6), (6, 4)])
def test_enumeration_is_the_sum_over_all_pairs_of_states(num_visible, num_hidden):
    rbm = machine(BernoulliUnits(num_visible), BernoulliUnits(num_hidden), 1.0)
    v, h = rbm.visible.states(0, 2**num_visible).float(), rbm.hidden.states(0, 2**num_hidden).float()
    pairs = (v @ rbm.visible.bias)[:, None] + (h @ rbm.hidden.bias)[None, :] + v @ rbm.weight.T @ h.T
    torch.testing.assert_close(exact_log_partition(rbm), pairs.double().flatten().logsumexp(0), rtol=1e-6, atol=1e-6)


def test_enumeration_in_several_chunks_is_that_of_the_other_layer():
    """2^14 states of one layer, in four chunks, or 2^13 of the other: the same sum."""
    rbm = machine(BernoulliUnits(13), BernoulliUnits(14), 0.3)
    other = machine(BernoulliUnits(14), BernoulliUnits(13), 0.0)
    with torch.no_grad():
        other.weight.copy_(rbm.weight.T)
        other.visible.bias.copy_(rbm.hidden.bias)
        other.hidden.bias.copy_(rbm.visible.bias)
    h = rbm.hidden.states(0, 2**14)
    by_hand = h @ rbm.hidden.bias.double() + rbm.visible.log_normalizer(rbm.visible.bias + h @ rbm.weight.double())
    assert exact_log_partition(rbm).item() == pytest.approx(by_hand.logsumexp(0).item(), rel=1e-12)
    assert exact_log_partition(other).item() == pytest.approx(exact_log_partition(rbm).item(), rel=1e-12)


def test_enumeration_of_gaussian_units_is_a_mixture_of_as_many_normals():
    """Complete the square by hand: Z = sum over h of exp(c'h + |b + W'h|^2 / 2 s^2) (2 pi s^2)^(D/2)."""
    rbm = machine(GaussianUnits(3, std=0.7), BernoulliUnits(4), 0.5).requires_grad_(False)
    total = 0.0
    for h in rbm.hidden.states(0, 16):
        mean = rbm.visible.bias.double() + h @ rbm.weight.double()
        total += math.exp(h @ rbm.hidden.bias.double() + mean.square().sum() / (2 * 0.49)) * (2 * math.pi * 0.49) ** 1.5
    assert exact_log_partition(rbm).item() == pytest.approx(math.log(total), rel=1e-6)


def test_what_can_be_enumerated():
    assert can_enumerate(machine(BernoulliUnits(1000), BernoulliUnits(20), 0.1))
    assert can_enumerate(machine(BernoulliUnits(20), GaussianUnits(1000), 0.1))
    assert not can_enumerate(machine(GaussianUnits(2), GaussianUnits(2), 0.1))
    large = machine(BernoulliUnits(21), BernoulliUnits(21), 0.1)
    assert not can_enumerate(large)
    with pytest.raises(ValueError, match="at most 20"):
        exact_log_partition(large)


def test_an_rbm_is_a_boltzmann_machine_and_a_layer_is_not():
    assert isinstance(MACHINES["gaussian"](), BoltzmannMachine)
    assert not isinstance(torch.nn.Linear(2, 2), BoltzmannMachine)
