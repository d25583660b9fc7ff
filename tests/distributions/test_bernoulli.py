import itertools

import torch

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
