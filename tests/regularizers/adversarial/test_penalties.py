"""Penalties on gradients against direct computation, for scores whose gradients are known."""

import math

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.protocols import Game, Judged
from lit_gen.regularizers.adversarial.dragan import DRAGAN
from lit_gen.regularizers.adversarial.gradient_penalty import GradientPenalty
from lit_gen.regularizers.adversarial.zero_centered import R1, R2

A = torch.tensor([[2.0, 0.5], [0.5, 1.0]])


class Quadratic(nn.Module):
    """s(x) = x' A x / 2, whose gradient is A x."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return self.scale * 0.5 * ((x @ A) * x).sum(1)


def game_of(discriminator, real, fake, noise=()):
    judged = [Judged(x, discriminator(x)) for x in (real.requires_grad_(), fake.requires_grad_())]
    return Game(nn.Identity(), discriminator, *judged, noise)


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 2, generator=generator), torch.randn(5, 2, generator=generator) + 2


def test_r1_and_r2_are_half_the_squared_slope_on_real_and_on_fake():
    real, fake = data()
    game = game_of(Quadratic(), real, fake)
    torch.testing.assert_close(R1()(game), (real @ A).square().sum(1) / 2)
    torch.testing.assert_close(R2()(game), (fake @ A).square().sum(1) / 2)


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_gradient_penalty_is_of_the_slope_between_pairs(one_sided):
    real, fake = data()
    mix = torch.rand(5, 1)
    between = mix * real + (1 - mix) * fake
    excess = (between @ A).norm(dim=1) - 1
    expected = (excess.clamp_min(0) if one_sided else excess).square()
    got = GradientPenalty(one_sided=one_sided)(game_of(Quadratic(), real, fake, (mix,)))
    torch.testing.assert_close(got, expected)
    [proportions] = GradientPenalty().noise(torch.zeros(1000, 3, 4, 4))
    assert proportions.shape == (1000, 1, 1, 1)
    assert proportions.min() >= 0
    assert proportions.max() <= 1
    assert proportions.mean() == pytest.approx(0.5, abs=0.05)


def test_dragans_penalty_is_of_the_slope_around_the_data():
    real, fake = data()
    shift = torch.rand(5, 2)
    got = DRAGAN(slope=2.0)(game_of(Quadratic(), real, fake, (shift,)))
    torch.testing.assert_close(got, (((real + shift) @ A).norm(dim=1) - 2).square())
    x = 3.0 + 4.0 * torch.randn(20_000, 2)
    [noise] = DRAGAN(noise_scale=0.5).noise(x)
    assert noise.min() >= 0
    assert noise.max() == pytest.approx(0.5 * 4.0, rel=0.02)
    assert noise.mean() == pytest.approx(0.5 * 4.0 / 2, rel=0.02)


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e5])
def test_dragans_noise_is_as_large_as_the_spread_wherever_the_data_lie(offset):
    x = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)) + offset
    [noise] = DRAGAN(noise_scale=1.0).noise(x)
    assert noise.max() == pytest.approx(float(x.double().std()), rel=0.01)


@pytest.mark.parametrize("penalty", [R1(), R2(), GradientPenalty(), DRAGAN()])
def test_a_penalty_has_a_gradient_in_the_discriminators_weights(penalty):
    """All are even polynomials of the scale or of its distance from what makes the slope 1."""
    real, fake = data()
    discriminator = Quadratic()
    noise = penalty.noise(real)
    value = lambda: penalty(game_of(discriminator, real.detach(), fake.detach(), noise)).mean()  # noqa: E731
    [gradient] = torch.autograd.grad(value(), discriminator.scale)
    values = []
    for scale in (1 - 1e-3, 1 + 1e-3):
        discriminator.scale.data.fill_(scale)
        values.append(value().item())
    assert gradient.item() == pytest.approx((values[1] - values[0]) / 2e-3, rel=1e-2)
    assert abs(gradient.item()) > 1e-2


def test_of_scores_that_judge_pairs_the_slope_is_in_both_examples():
    class OfPairs(Quadratic):
        def forward(self, x):
            return super().forward(x).view(-1, 2).sum(1)

    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    got = R1()(game_of(OfPairs(), real, fake))
    torch.testing.assert_close(got, (real @ A).square().sum(1).view(-1, 2).sum(1) / 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: R1(weight=-1.0), "R1's weight must not be negative"),
        (lambda: R1(weight=math.nan), "R1's weight must not be negative"),
        (lambda: R1(every_n_steps=0), "R1's every_n_steps must be at least 1"),
        (lambda: DRAGAN(noise_scale=0.0), "DRAGAN's noise_scale must be positive"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_weight_follows_its_schedule():
    penalty = R1(weight=lambda step: 1.0 / (1 + step))
    assert penalty.weight == 1.0
    penalty.at_step(3)
    assert penalty.weight == 0.25
