import pytest
import torch

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.continuous_bernoulli import ContinuousBernoulliHead

LOGITS = [-30.0, -3.0, -1e-4, 0.0, 1e-4, 0.2, 2.0, 30.0]


@pytest.mark.parametrize("logit", LOGITS)
def test_the_density_integrates_to_one_and_the_mean_is_its_mean(logit):
    grid = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    p = ContinuousBernoulliHead()(torch.tensor(logit, dtype=torch.float64).expand(len(grid), 1))
    density = p.log_prob(grid).exp()
    assert density.shape == (len(grid),)
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1.0, abs=1e-6)
    assert torch.trapezoid(density * grid[:, 0], grid[:, 0]).item() == pytest.approx(p.mean[0].item(), abs=1e-6)


def test_it_is_torchs_continuous_bernoulli():
    torch.manual_seed(0)
    logits, x = 4 * torch.randn(5, 1, 3, 3, dtype=torch.float64), torch.rand(5, 1, 3, 3, dtype=torch.float64)
    theirs = torch.distributions.ContinuousBernoulli(logits=logits)
    ours = ContinuousBernoulliHead()(logits)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).sum((1, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours.mean, theirs.mean, rtol=1e-5, atol=1e-5)


def test_it_is_the_bernoullis_formula_and_its_missing_constant():
    """Without the constant, the "likelihood" of grey pixels integrates to less than 1 wherever p is not 0 or 1."""
    logits, x = torch.zeros(1, 7), torch.rand(1, 7)
    gap = ContinuousBernoulliHead()(logits).log_prob(x) - BernoulliHead()(logits).log_prob(x)
    assert gap.item() == pytest.approx(7 * 0.6931472, rel=1e-6)  # C(1/2) = 2


@pytest.mark.parametrize("logit", LOGITS)
def test_draws_follow_the_density(logit):
    torch.manual_seed(0)
    p = ContinuousBernoulliHead()(torch.tensor([[logit]]))
    draws = p.sample((20_000,))
    assert draws.shape == (20_000, 1, 1)
    assert draws.min() >= 0
    assert draws.max() <= 1
    x = torch.tensor([[0.25], [0.5], [0.75]], dtype=torch.float64)
    grid = torch.linspace(0, 1, 3001, dtype=torch.float64)
    density = ContinuousBernoulliHead()(torch.full((3001, 1), logit, dtype=torch.float64)).log_prob(grid[:, None]).exp()
    below = torch.stack([torch.trapezoid(density[grid <= cut], grid[grid <= cut]) for cut in x])
    seen = (draws.flatten() <= x).double().mean(1)
    torch.testing.assert_close(seen, below, atol=0.015, rtol=0)


def test_near_one_half_single_precision_keeps_value_and_gradient():
    """The textbook formula, 2 atanh(1 - 2p) / (1 - 2p), is 0/0 there."""
    exact = torch.tensor([[-1e-3, -1e-6, 0.0, 1e-8, 1e-4, 0.49, 0.51]], dtype=torch.float64, requires_grad=True)
    single = exact.detach().float().requires_grad_()
    x = torch.full((1, 7), 0.3)
    ours, reference = (ContinuousBernoulliHead()(t).log_prob(x.to(t.dtype)) for t in (single, exact))
    torch.testing.assert_close(ours.double(), reference, atol=1e-6, rtol=0)
    ours.sum().backward()
    reference.sum().backward()
    torch.testing.assert_close(single.grad.double(), exact.grad, atol=1e-6, rtol=0)
    assert exact.grad[0, 2].item() == pytest.approx(0.3 - 0.5, abs=1e-7)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[-1e5, 1e5, -1e5, 1e5]], requires_grad=True)
    log_prob = ContinuousBernoulliHead()(logits).log_prob(torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
    assert log_prob.item() == pytest.approx(-2e5, rel=1e-3)
    log_prob.sum().backward()
    assert logits.grad.isfinite().all()
    assert ContinuousBernoulliHead()(logits).sample((100,)).isfinite().all()


def test_gradients_against_finite_differences():
    logits = torch.tensor([[-40.0, -0.5, 0.0, 0.3, 5.0]], dtype=torch.float64, requires_grad=True)
    x = torch.rand(1, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: ContinuousBernoulliHead()(a).log_prob(b), (logits, x))
