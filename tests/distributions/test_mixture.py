import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lit_gen.distributions.flows.distribution import FlowDistribution
from lit_gen.distributions.flows.realnvp import RealNVP
from lit_gen.distributions.full_normal import FullNormal
from lit_gen.distributions.mixture import Mixture, MixturePrior, normal_log_probs
from lit_gen.distributions.normal import DiagonalNormal
from lit_gen.errors import UserError


def uneven_prior(dim=2, num_components=4):
    torch.manual_seed(0)
    prior = MixturePrior(dim, num_components).double()
    for parameter, size in ((prior.logits, 1.0), (prior.loc, 2.0), (prior.log_scale, 0.4)):
        torch.nn.init.normal_(parameter, std=size)
    return prior


def reference(prior):
    components = Independent(Normal(prior.loc, prior.log_scale.exp()), 1)
    return MixtureSameFamily(Categorical(logits=prior.logits), components)


def test_it_is_torchs_mixture():
    prior = uneven_prior(3, 5)
    for shape in [(3,), (6, 3), (4, 6, 3)]:
        z = 2 * torch.randn(shape).double()
        torch.testing.assert_close(prior().log_prob(z), reference(prior).log_prob(z))


def test_the_density_integrates_to_one_and_is_that_of_the_draws():
    prior = uneven_prior()
    axis = torch.linspace(-14, 14, 1401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = prior().log_prob(grid).exp() * 0.02**2
        z = prior().sample((50_000,))
    assert z.shape == (50_000, 2)
    assert mass.sum().item() == pytest.approx(1.0, abs=1e-5)
    for statistic in (lambda z: z, lambda z: z.square(), lambda z: (2 * z.prod(-1, keepdim=True)).tanh()):
        expected, found = (statistic(grid) * mass[:, None]).sum(0), statistic(z)
        assert ((found.mean(0) - expected).abs() < 5 * found.std(0) / len(z) ** 0.5 + 1e-4).all()
    assert prior().sample().shape == (2,)
    assert prior().sample((3, 4)).shape == (3, 4, 2)


def test_components_are_drawn_by_their_shares():
    torch.manual_seed(0)
    far = DiagonalNormal(torch.tensor([[-100.0], [0.0], [100.0]]), torch.ones(3, 1))
    for logits in (torch.tensor([0.2, 0.5, 0.3]).log(), None):
        z = Mixture(far, logits).sample((30_000,)).round(decimals=-2)
        shares = torch.full((3,), 1 / 3) if logits is None else logits.exp()
        found = torch.stack([(z == value).float().mean() for value in (-100, 0, 100)])
        torch.testing.assert_close(found, shares, atol=0.015, rtol=0)


def test_squares_multiplied_out_lose_nothing_in_single_precision():
    torch.manual_seed(0)
    loc, scale = 5 * torch.randn(30, 20), torch.full((30, 20), 0.01)
    z = loc + scale * torch.randn(30, 20)
    found = normal_log_probs(z, DiagonalNormal(loc, scale)).diagonal()
    expected = DiagonalNormal(loc.double(), scale.double()).log_prob(z.double())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)


def test_mixed_precision_changes_nothing():
    prior, z = uneven_prior().float(), torch.randn(50, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = prior().log_prob(z)
    torch.testing.assert_close(found, prior().log_prob(z))


def test_any_batch_of_distributions_can_be_mixed():
    torch.manual_seed(0)
    loc, scale = torch.randn(6, 4).double(), torch.rand(6, 4).double() + 0.1
    z, logits = torch.randn(3, 5, 4).double(), torch.randn(6).double()
    diagonal = Mixture(DiagonalNormal(loc, scale), logits)
    full = Mixture(FullNormal(loc, torch.diag_embed(scale)), logits)
    torch.testing.assert_close(full.log_prob(z), diagonal.log_prob(z))
    flow = RealNVP(4, 2, [8], 3).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    context = torch.randn(6, 6).double()
    mixed = Mixture(FlowDistribution(DiagonalNormal(loc, scale), flow, context))
    alone = [
        FlowDistribution(DiagonalNormal(loc[i : i + 1], scale[i : i + 1]), flow, context[i : i + 1]) for i in range(6)
    ]
    expected = torch.cat([one.log_prob(z.unsqueeze(-2)) for one in alone], -1).logsumexp(-1) - math.log(6)
    torch.testing.assert_close(mixed.log_prob(z), expected)
    assert mixed.sample((7,)).shape == full.sample((7,)).shape == (7, 4)


def test_every_parameter_gets_a_gradient_and_one_component_is_a_normal():
    prior = uneven_prior()
    gradients = torch.autograd.grad(prior().log_prob(torch.randn(9, 2).double()).sum(), list(prior.parameters()))
    assert all((gradient.abs().sum(-1) > 0).all() for gradient in gradients)
    one, z = MixturePrior(3, 1), torch.randn(8, 3)
    torch.testing.assert_close(one().log_prob(z), DiagonalNormal(one.loc[0], one.log_scale[0].exp()).log_prob(z))


def test_it_starts_with_unit_variance():
    torch.manual_seed(0)
    torch.testing.assert_close(MixturePrior(3, 500)().sample((50_000,)).var(0), torch.ones(3), atol=0.12, rtol=0)


@pytest.mark.parametrize(("dim", "num_components"), [(0, 3), (3, 0)])
def test_numbers_below_one_are_refused(dim, num_components):
    with pytest.raises(UserError, match="must be at least 1, got 0"):
        MixturePrior(dim, num_components)


@pytest.mark.parametrize("offset", [0.0, 10.0, 1000.0])
def test_narrow_components_far_from_zero_have_their_densities(offset):
    """By differences in double precision; the expanded square about 0 would lose 1e-16 (offset / scale)^2 nats."""
    torch.manual_seed(0)
    loc = torch.randn(5, 3).double() + offset
    scale = torch.full((5, 3), 1e-4).double()
    z = (loc[:, None] + scale[:, None] * torch.randn(5, 4, 3).double()).flatten(0, 1)
    found = normal_log_probs(z, DiagonalNormal(loc, scale))
    standard = (z[:, None] - loc) / scale
    expected = -0.5 * standard.square().sum(2) - 3 * (0.5 * math.log(2 * math.pi) + math.log(1e-4))
    near = expected > -100
    assert near.sum() >= 20
    torch.testing.assert_close(found[near], expected[near], rtol=0, atol=1e-5)
