import pytest
import torch
from torch.distributions import RelaxedOneHotCategorical

from lit_gen.distributions.gumbel_softmax import GumbelSoftmaxHead, RelaxedOneHot
from lit_gen.distributions.one_hot import OneHot
from lit_gen.errors import UserError
from lit_gen.objectives.variational import LinearWarmup

LOGITS = torch.tensor([[1.0, 0.0, -1.0, 0.5], [0.0, 0.3, 2.0, -2.0]], dtype=torch.float64)  # (N, K)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_draws_lie_in_the_simplex_and_their_largest_is_as_frequent_as_probable(temperature):
    """Maddison et al. (2017), Proposition 1: P(z_k is the largest) = p_k at every temperature."""
    torch.manual_seed(0)
    q = RelaxedOneHot(LOGITS, temperature)
    z = q.rsample((50_000,)).view(-1, 2, 4)
    assert z.min() >= 0
    torch.testing.assert_close(z.sum(-1), torch.ones(50_000, 2).double())
    frequency = torch.nn.functional.one_hot(z.argmax(-1), 4).double().mean(0)
    p = LOGITS.softmax(-1)
    assert ((frequency - p).abs() < 5 * (p * (1 - p) / 50_000).sqrt()).all()


def test_draws_are_torchs_in_law():
    torch.manual_seed(0)
    ours = RelaxedOneHot(LOGITS, 0.7).rsample((100_000,)).view(-1, 2, 4)
    theirs = RelaxedOneHotCategorical(torch.tensor(0.7, dtype=torch.float64), logits=LOGITS).rsample((100_000,))
    for power in (1, 2, 3):
        a, b = ours**power, theirs**power
        error = ((a.var(0) + b.var(0)) / 100_000).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 5 * error).all()


def test_cold_draws_are_one_hot():
    torch.manual_seed(0)
    z = RelaxedOneHot(LOGITS, 1e-4).rsample((1000,)).view(-1, 2, 4)
    assert (z.amax(-1) > 0.999).double().mean() > 0.99


def test_straight_through_has_one_hot_values_and_the_relaxed_gradient():
    weight, found = torch.randn(8, dtype=torch.float64), []
    for straight_through in (False, True):
        torch.manual_seed(0)
        logits = LOGITS.clone().requires_grad_()
        z = RelaxedOneHot(logits, 0.8, straight_through).rsample((5,))
        found.append(z)
        [gradient] = torch.autograd.grad((z * weight).sum(), logits)
        found.append(gradient)
    relaxed, relaxed_gradient, hard, hard_gradient = found
    torch.testing.assert_close(hard_gradient, relaxed_gradient)
    assert relaxed_gradient.abs().min() > 0
    torch.testing.assert_close(hard, hard.round())
    assert torch.equal(hard.view(5, 2, 4).argmax(-1), relaxed.view(5, 2, 4).argmax(-1))


def test_the_head_relaxes_in_training_alone():
    torch.manual_seed(0)
    head, params = GumbelSoftmaxHead(4, temperature=0.5), torch.randn(3, 4, 6)
    q = head(params)
    assert isinstance(q, RelaxedOneHot)
    assert q.temperature == 0.5
    assert (q.batch_shape, q.event_shape) == ((3,), (24,))
    torch.testing.assert_close(q.mean.view(3, 6, 4), params.softmax(1).transpose(1, 2))
    draws = head.eval()(params).rsample((9,))
    assert draws.shape == (9, 3, 24)
    assert torch.equal(draws, draws.round())
    z = OneHot(params.transpose(1, 2)).sample((9,))
    torch.testing.assert_close(head(params).log_prob(z), q.log_prob(z))
    assert head(params.view(3, 4, 2, 3)).event_shape == (24,)
    assert head(params.bfloat16()).log_prob(z).dtype == torch.float32


def test_the_temperature_follows_the_step():
    head = GumbelSoftmaxHead(3, temperature=LinearWarmup(start=1.0, end=0.5, num_steps=10))
    seen = []
    for step in (0, 5, 10, 99):
        head.at_step(step)
        seen.append(head(torch.zeros(1, 3, 2)).temperature)
    assert seen == [1.0, 0.75, 0.5, 0.5]


def test_says_what_it_needs():
    with pytest.raises(UserError, match="num_classes must be at least 2, got 1"):
        GumbelSoftmaxHead(1)
    with pytest.raises(UserError, match=r"temperature must be positive, got 0\.0 at step 0"):
        GumbelSoftmaxHead(3, temperature=0.0)
    cooling = GumbelSoftmaxHead(3, temperature=lambda step: 1.0 - step)
    with pytest.raises(UserError, match=r"got 0\.0 at step 1"):
        cooling.at_step(1)
    with pytest.raises(UserError, match="params_per_output 3"):
        GumbelSoftmaxHead(3)(torch.zeros(5, 2, 3))
