"""Discriminators trained to the end on pairs of 1-D densities, against what theory says of them.

Expectations are quadratures, so that training is deterministic and nothing is left to the luck of a sample.
"""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.optim import LBFGS, Adam

from lit_gen.objectives.adversarial.divergences import (
    Alpha,
    GANDivergence,
    JensenShannon,
    KullbackLeibler,
    Neyman,
    Pearson,
    ReverseKullbackLeibler,
    SquaredHellinger,
    TotalVariation,
)
from lit_gen.objectives.adversarial.f_divergence import FDivergence
from lit_gen.objectives.adversarial.halved_cross_entropy import HalvedCrossEntropy
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.adversarial.wasserstein import Wasserstein
from lit_gen.protocols import Game, Judged
from lit_gen.regularizers.adversarial.gradient_penalty import GradientPenalty

P, Q = (Normal(*(torch.tensor(v, dtype=torch.float64) for v in pair)) for pair in ((-0.3, 1.0), (0.4, 1.05)))


X = torch.linspace(-7, 7, 701, dtype=torch.float64)


def expected_loss(objective, scores):
    """E_p E_q of the discriminator's loss given its scores on X, for losses that are a sum over the two sides."""
    zero = torch.zeros_like(scores)
    p, q = (density.log_prob(X).exp() * (X[1] - X[0]) for density in (P, Q))
    of_real = objective.discriminator_loss(real=scores, fake=zero)
    of_fake = objective.discriminator_loss(real=zero, fake=scores)
    return (p * of_real).sum() + (q * of_fake).sum() - objective.discriminator_loss(real=zero, fake=zero)[0]


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        self.double()

    def forward(self, x):
        return self.layers(x).squeeze(1)


def trained(objective, num_steps=200):
    discriminator = Discriminator()
    optimizer = LBFGS(discriminator.parameters(), max_iter=num_steps, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = expected_loss(objective, discriminator(X[:, None]))
        loss.backward()
        return loss

    optimizer.step(closure)
    return discriminator(X[:, None]).detach()


@pytest.mark.parametrize("game", [Minimax, NonSaturating, HalvedCrossEntropy])
@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.1, 0.0), (0.1, 0.1)])
def test_the_optimal_discriminator_tells_the_densities_apart_as_derived(game, a, b):
    """D = ((1 - a) p + b q) / (p + q): Goodfellow et al. 2014, Proposition 1; smoothed, the 2016 tutorial."""
    objective = game(real_smoothing=a, fake_smoothing=b)
    within = X.abs() < 3
    p, q = P.log_prob(X).exp(), Q.log_prob(X).exp()
    got = objective.probability_real(trained(objective))
    assert (got - ((1 - a) * p + b * q) / (p + q))[within].abs().max() < 0.03


@pytest.mark.parametrize(("fake_smoothing", "pull"), [(0.0, 8.0), (0.1, 0.0)])
def test_smoothing_both_sides_leaves_stray_examples_where_they_are(fake_smoothing, pull):
    """Salimans et al. 2016, Section 3.4: of (p + b q) / (p + q) nothing but b is left where p is all but 0.

    Half of the generator's examples are about 8, where a normal p's score is -8: against the optimal discriminator, as
    the test above has it, the generator's gradient in its logit is the difference of both scores, if b is 0.
    """
    x = torch.tensor([8.0], dtype=torch.float64, requires_grad=True)
    p, stray = Normal(x.new_tensor(0.0), x.new_tensor(1.0)), Normal(x.new_tensor(8.0), x.new_tensor(1.0))
    q = (p.log_prob(x).exp() + stray.log_prob(x).exp()) / 2
    ratio = (p.log_prob(x).exp() + fake_smoothing * q) / ((1 - fake_smoothing) * q)  # D / (1 - D)
    loss = NonSaturating(fake_smoothing=fake_smoothing).generator_loss(real=None, fake=ratio.log())
    [gradient] = torch.autograd.grad(loss.sum(), x)
    assert gradient.item() == pytest.approx(pull, abs=1e-6)


def divergence_of(divergence):
    """D_f(P || Q) by quadrature over f; for Gaussians the closed forms below are the independent check of it."""
    log_p, log_q = P.log_prob(X), Q.log_prob(X)
    return torch.trapezoid(log_q.exp() * divergence.f((log_p - log_q).exp()), X).item()


def normal_power_integral(a):
    """The integral of p^a q^(1 - a) of the two normals."""
    s, t = P.scale, Q.scale
    precision = a / s**2 + (1 - a) / t**2
    mean = (a * P.loc / s**2 + (1 - a) * Q.loc / t**2) / precision
    exponent = -0.5 * (a * P.loc**2 / s**2 + (1 - a) * Q.loc**2 / t**2 - precision * mean**2)
    return (exponent.exp() / (s**a * t ** (1 - a) * precision.sqrt())).item()


def normal_total_variation():
    """By the two points where the densities cross: the roots of log p - log q, a parabola."""
    a = (1 / Q.scale**2 - 1 / P.scale**2) / 2
    b = P.loc / P.scale**2 - Q.loc / Q.scale**2
    c = (Q.loc**2 / Q.scale**2 - P.loc**2 / P.scale**2) / 2 + (Q.scale / P.scale).log()
    root = (b * b - 4 * a * c).sqrt()
    crossings = torch.stack([(-b - root) / (2 * a), (-b + root) / (2 * a)])
    between = P.cdf(crossings) - Q.cdf(crossings)
    return (between[1] - between[0]).abs().item()


KL = math.log(1.05) + (1.0 + 0.7**2) / (2 * 1.05**2) - 0.5
REVERSE = math.log(1 / 1.05) + (1.05**2 + 0.7**2) / 2 - 0.5
CLOSED = [
    (KullbackLeibler(), KL),
    (ReverseKullbackLeibler(), REVERSE),
    (Neyman(), normal_power_integral(-1.0) - 1),
    (SquaredHellinger(), 2 - 2 * normal_power_integral(0.5)),
    (Alpha(0.5), (normal_power_integral(0.5) - 1) / (0.5 * -0.5)),
    (Alpha(-0.5), (normal_power_integral(-0.5) - 1) / (-0.5 * -1.5)),
    (Alpha(1.3), (normal_power_integral(1.3) - 1) / (1.3 * 0.3)),
    (Pearson(), normal_power_integral(2.0) - 1),
    (TotalVariation(), normal_total_variation()),
]


def by_definition(name):
    """Of those without a closed form: from the densities themselves, not from f."""
    p, q = P.log_prob(X).exp(), Q.log_prob(X).exp()
    mean = (p + q) / 2
    shannon = torch.trapezoid(torch.xlogy(p, p / mean) + torch.xlogy(q, q / mean), X).item()
    return {
        JensenShannon: shannon,
        GANDivergence: shannon - math.log(4),
    }[name]


def bound_of(divergence):
    objective = FDivergence(divergence)
    return -expected_loss(objective, trained(objective)).item()


@pytest.mark.parametrize(("divergence", "closed"), CLOSED, ids=lambda value: type(value).__name__)
def test_the_bound_meets_the_closed_form_of_two_normals(divergence, closed):
    assert divergence_of(divergence) == pytest.approx(closed, rel=1e-3)
    assert bound_of(divergence) == pytest.approx(closed, rel=0.02)


@pytest.mark.parametrize("divergence", [JensenShannon, GANDivergence])
def test_the_bound_meets_the_divergence_where_there_is_no_closed_form(divergence):
    assert divergence_of(divergence()) == pytest.approx(by_definition(divergence), rel=1e-3)
    assert bound_of(divergence()) == pytest.approx(by_definition(divergence), rel=0.02)


MOVED, SPREAD = (0.6, 1.0), (0.0, 1.7)


@pytest.mark.parametrize(
    ("other", "weight", "bias"),
    [
        pytest.param(MOVED, 10.0, 0.03, id="moved"),
        pytest.param(MOVED, 30.0, 0.01, id="moved, a larger penalty"),
        pytest.param(SPREAD, 30.0, 0.02, id="spread"),
    ],
)
def test_wgan_gp_estimates_the_exact_distance(other, weight, bias):
    """W_1 in one dimension is the mean distance of quantiles; its own bias is at least W / (2 lambda), more
    where less of its points than of the distance lies: 6 % of the spread pair at the paper's lambda of 10.

    The paper's penalty, of both sides and 10 times, is met after a third of the steps with one side: a slope of the
    wrong sign, which in one dimension cannot turn round without passing 0, is as good as any for it.
    """
    middle = (torch.arange(512, dtype=torch.float64) + 0.5) / 512  # of slices of equal probability
    real, fake = Normal(0.0, 1.0).icdf(middle)[:, None], Normal(*other).icdf(middle)[:, None]
    exact = (real - fake).abs().mean().item()
    discriminator, objective = Discriminator(), Wasserstein()
    optimizer = Adam(discriminator.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    generator = torch.Generator().manual_seed(0)
    for step in range(600):
        penalty = GradientPenalty(weight, one_sided=step < 200)
        order = torch.randperm(512, generator=generator)
        judged = Judged(real[order], discriminator(real[order])), Judged(fake, discriminator(fake))
        noise = (torch.rand(512, 1, dtype=torch.float64, generator=generator),)
        loss = objective.discriminator_loss(real=judged[0].scores, fake=judged[1].scores).mean()
        loss = loss + penalty.weight * penalty(Game(nn.Identity(), discriminator, *judged, noise)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    estimate = (discriminator(real).mean() - discriminator(fake).mean()).item()
    assert estimate == pytest.approx(exact, rel=0.05)
    assert estimate / exact - 1 == pytest.approx(bias, abs=0.02)
