import itertools

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lit_gen.distributions.bernoulli import BernoulliHead


def test_probabilities_of_all_images_sum_to_one():
    logits = torch.randn(1, 1, 2, 3) * 2
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6))).view(-1, 1, 2, 3)
    log_prob = BernoulliHead()(logits.expand(64, 1, 2, 3)).log_prob(images)
    assert log_prob.shape == (64,)
    torch.testing.assert_close(log_prob.exp().sum(), torch.tensor(1.0))


def test_the_log_probability_of_grey_is_the_cross_entropy_summed_over_pixels():
    x, logits = torch.rand(4, 1, 3, 3), torch.randn(4, 1, 3, 3)
    p = logits.sigmoid()
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(BernoulliHead()(logits).log_prob(x), expected)


def test_mean_and_draws_follow_the_logits():
    torch.manual_seed(0)
    logits = torch.tensor([[-2.0, 0.0, 3.0]]).expand(20_000, 3)
    distribution = BernoulliHead()(logits)
    torch.testing.assert_close(distribution.mean, logits.sigmoid())
    draws = distribution.sample()
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(draws.mean(0), logits[0].sigmoid(), atol=0.015, rtol=0)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    log_prob = BernoulliHead()(logits).log_prob(torch.tensor([[1.0, 0.0]]))
    assert log_prob.item() == -400.0
    log_prob.sum().backward()
    assert logits.grad.isfinite().all()


def test_half_precision_logits_are_summed_in_single():
    logits = torch.full((1, 4096), 0.1, dtype=torch.bfloat16)
    log_prob = BernoulliHead()(logits).log_prob(torch.ones(1, 4096))
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, logits.double().sigmoid().log().sum(1).float())


def test_value_and_gradients_are_those_of_the_binary_cross_entropy():
    for dim in (1, 7, 48, 784):  # no halving, some, as many as there are
        torch.manual_seed(dim)
        logits = (6 * torch.randn(5, dim, dtype=torch.float64)).requires_grad_()
        x = torch.rand(5, dim, dtype=torch.float64, requires_grad=True)
        ours = BernoulliHead()(logits).log_prob(x)
        reference = -binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        torch.testing.assert_close(ours, reference)
        weights = torch.randn(5, dtype=torch.float64)
        for mine, theirs in zip(
            torch.autograd.grad((weights * ours).sum(), (logits, x)),
            torch.autograd.grad((weights * reference).sum(), (logits, x)),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs)


def test_single_precision_loses_nothing_that_matters():
    torch.manual_seed(0)
    logits, x = 5 * torch.randn(64, 784), torch.rand(64, 784).bernoulli()
    exact = BernoulliHead()(logits.double()).log_prob(x.double())
    torch.testing.assert_close(BernoulliHead()(logits).log_prob(x).double(), exact, rtol=1e-6, atol=0)
    # Sure of most pixels, and right: logits that add up to thousands make a log-probability of a few nats.
    logits = 15 * (2 * x - 1) + 5 * torch.randn(64, 784)
    exact = BernoulliHead()(logits.double()).log_prob(x.double())
    assert exact.mean() > -10
    torch.testing.assert_close(BernoulliHead()(logits).log_prob(x).double(), exact, rtol=0, atol=5e-5)


def test_second_derivatives_are_right():
    logits = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    x = torch.rand(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda a, b: BernoulliHead()(a).log_prob(b), (logits, x))


@torch.no_grad()
def test_one_example_at_many_logits_is_scored_as_its_copies_are():
    torch.manual_seed(0)
    grey = torch.rand(1, 28, 28)
    sure = 15 * (2 * grey.round() - 1) + 5 * torch.randn(6, 1, 28, 28)  # and right: see above
    for x in (grey, grey.round(), torch.full((1, 28, 28), 0.5)):
        for logits in (sure, torch.randn(6, 1, 28, 28), -sure, 200 * torch.randn(6, 1, 28, 28)):  # the last underflow
            exact = BernoulliHead()(logits.double()).log_prob(x.double().repeat(6, 1, 1, 1))
            expanded = BernoulliHead()(logits).log_prob(x.expand(6, 1, 28, 28))
            torch.testing.assert_close(expanded.double(), exact, rtol=1e-6, atol=5e-5)
