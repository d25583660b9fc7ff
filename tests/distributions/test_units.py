"""Units against brute force: sums over states, and integrals on a grid."""

import math

import pytest
import torch

from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
from lit_gen.errors import UserError


def inputs(num=4, seed=0):
    return torch.randn(3, num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(std):
    x = torch.linspace(-12, 12, 20_001, dtype=torch.float64) * std
    return x, x[1] - x[0]


def test_bernoulli_normalizer_and_mean_are_sums_over_all_states():
    units, a = BernoulliUnits(4), inputs()
    states = units.states(0, units.num_states)
    assert units.num_states == 16
    assert len(states.unique(dim=0)) == 16
    weights = (states @ a.T).exp()  # (16, 3)
    torch.testing.assert_close(units.log_normalizer(a), weights.sum(0).log())
    torch.testing.assert_close(units.mean(a), (weights.T @ states) / weights.sum(0).unsqueeze(1))


def test_states_come_in_chunks():
    units = BernoulliUnits(5)
    whole = units.states(0, 32)
    assert torch.equal(torch.cat([units.states(0, 7), units.states(7, 30), units.states(30, 32)]), whole)


@pytest.mark.parametrize("std", [1.0, 0.3])
def test_gaussian_normalizer_and_mean_are_integrals(std):
    """By quadrature of base(x) exp(s(x) a) in one dimension."""
    units = GaussianUnits(1, std=std).double()
    x, width = grid(std)
    for a in (-1.0, 0.0, 0.7):
        log_density = units.log_base(x.unsqueeze(1)) + units.statistic(x.unsqueeze(1)).squeeze(1) * a
        total = log_density.exp().sum() * width
        own = torch.tensor([a], dtype=torch.float64)
        assert units.log_normalizer(own).item() == pytest.approx(total.log().item(), rel=1e-6)
        mean = (x * log_density.exp()).sum() * width / total
        assert units.mean(own).item() == pytest.approx(mean.item(), rel=1e-6, abs=1e-9)
        variance = ((x - mean).square() * log_density.exp()).sum() * width / total
        assert variance.item() == pytest.approx(std**2, rel=1e-5)


@pytest.mark.parametrize("units", [BernoulliUnits(2), GaussianUnits(2, std=0.4)], ids=["bernoulli", "gaussian"])
def test_draws_have_the_moments_and_follow_the_seed(units):
    a = torch.tensor([-1.0, 0.5])
    torch.manual_seed(0)
    x = units.sample(a.expand(40_000, 2))
    spread = 0.5 if isinstance(units, BernoulliUnits) else 0.4
    torch.testing.assert_close(x.mean(0), units.mean(a), atol=4 * spread / 200, rtol=0)
    if isinstance(units, GaussianUnits):
        torch.testing.assert_close(x.std(0), torch.full((2,), 0.4), rtol=0.02, atol=0)
    else:
        assert set(x.unique().tolist()) == {0.0, 1.0}
    torch.manual_seed(0)
    assert torch.equal(units.sample(a.expand(40_000, 2)), x)


def test_bernoulli_draws_meet_certainty():
    units = BernoulliUnits(2)
    x = units.sample(torch.tensor([-1000.0, 1000.0]).expand(1000, 2))
    assert torch.equal(x, torch.tensor([0.0, 1.0]).expand(1000, 2))


@pytest.mark.parametrize("units", [BernoulliUnits(3), GaussianUnits(3, std=0.3)], ids=["bernoulli", "gaussian"])
def test_bias_for_mean_gives_units_of_that_mean(units):
    mean = torch.tensor([0.0, 0.25, 1.0])
    bias = units.bias_for_mean(mean, count=100_000)
    assert bias.isfinite().all()
    torch.testing.assert_close(units.mean(bias), mean, atol=2e-5, rtol=0)


def test_learned_std_is_a_parameter_and_a_fixed_one_is_saved():
    fixed, learned = GaussianUnits(3, std=0.5), GaussianUnits(3, std=0.5, learned_std=True)
    assert {name for name, _ in fixed.named_parameters()} == {"bias"}
    assert {name for name, _ in learned.named_parameters()} == {"bias", "log_std"}
    assert fixed.state_dict().keys() == learned.state_dict().keys()
    torch.testing.assert_close(learned.std, torch.full((3,), 0.5))


def test_a_learned_std_stays_above_its_floor_and_can_come_back():
    """A pixel that never varies would draw its deviation to 0, and its density to infinity."""
    units = GaussianUnits(2, std=0.5, learned_std=True, min_std=0.01)
    optimizer = torch.optim.SGD([units.log_std], lr=0.05)
    still = torch.zeros(30, 2)  # all at the mean

    def log_prob(x):
        return units.log_base(x).mean() - units.log_normalizer(units.bias)

    for _ in range(200):
        optimizer.zero_grad()
        (-log_prob(still)).backward()
        optimizer.step()
    assert units.log_std.max() < math.log(0.01)
    torch.testing.assert_close(units.std, torch.full((2,), 0.01))
    assert log_prob(still).item() == pytest.approx(-2 * (math.log(0.01) + 0.5 * math.log(2 * math.pi)), rel=1e-5)
    units.log_std.grad = None
    (-log_prob(still + 0.05)).backward()
    assert (units.log_std.grad < 0).all()  # up again


@pytest.mark.parametrize("min_std", [0.0, -1.0, 0.6, math.nan])
def test_a_floor_that_is_none_is_refused(min_std):
    with pytest.raises(UserError, match="min_std"):
        GaussianUnits(2, std=0.5, learned_std=True, min_std=min_std)


def test_half_precision_inputs_are_summed_in_single():
    for units in (BernoulliUnits(5), GaussianUnits(5)):
        assert units.log_normalizer(torch.zeros(2, 5, dtype=torch.bfloat16)).dtype == torch.float32
    drawn = BernoulliUnits(1).sample(torch.full((100_000, 1), math.log(0.001 / 0.999), dtype=torch.bfloat16))
    assert 0.0005 < drawn.float().mean().item() < 0.0015  # noise in bfloat16 has 256 levels


def test_pseudo_log_likelihood_on_average_over_units_is_the_sum_of_conditionals():
    units, weight = BernoulliUnits(4), torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    energy = lambda v: -((v @ weight) * v).sum(1) + v.sum(1)  # noqa: E731
    v = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    expected = 0.0
    for unit in range(4):
        flipped = v.clone()
        flipped[0, unit] = 1 - v[0, unit]
        own, other = -energy(v), -energy(flipped)
        expected += (own - torch.logaddexp(own, other)).item()
    index = torch.arange(4000)
    figure = units.evaluation_terms(v.expand(4000, 4), index, energy)["pseudo_log_likelihood"]
    assert figure.mean().item() == pytest.approx(expected, rel=0.02)
    part = units.evaluation_terms(v.expand(3, 4), index[100:103], energy)["pseudo_log_likelihood"]
    assert torch.equal(part, figure[100:103])  # the unit belongs to the example's number


def test_bernoulli_units_refuse_what_is_not_in_their_range():
    units = BernoulliUnits(2)
    units.check(torch.tensor([[0.0, 1.0]]), "the data")
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(UserError, match=r"take values in \[0, 1\], but the data reach from"):
            units.check(torch.tensor([[0.5, wrong]]), "the data")
    GaussianUnits(2).check(torch.tensor([[-3.0, 7.0]]), "the data")


@pytest.mark.parametrize("make", [lambda: BernoulliUnits(0), lambda: GaussianUnits((2, 0)), lambda: BernoulliUnits(())])
def test_refuses_empty_shapes(make):
    with pytest.raises(UserError, match="at least 1"):
        make()


def test_refuses_a_std_that_is_not_positive():
    with pytest.raises(UserError, match="std must be positive, got 0"):
        GaussianUnits(2, std=0.0)
