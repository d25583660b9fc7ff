import itertools
import math

import pytest
import torch
from torch.distributions import Independent, OneHotCategorical, kl_divergence
from torch.nn import functional as F

from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.one_hot import OneHot, UniformCategorical
from lit_gen.errors import UserError

DOUBLE = {"dtype": torch.float64}


def all_codes(num_variables, num_classes):
    """(K^N, N * K)."""
    classes = torch.tensor(list(itertools.product(range(num_classes), repeat=num_variables)))
    return F.one_hot(classes, num_classes).flatten(1).double()


def logits(*shape):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), **DOUBLE)


def test_probabilities_of_all_codes_sum_to_one():
    q = OneHot(logits(4, 3, 5))
    codes = all_codes(3, 5)[:, None]
    assert (q.batch_shape, q.event_shape) == ((4,), (15,))
    torch.testing.assert_close(q.log_prob(codes).exp().sum(0), torch.ones(4, **DOUBLE))
    torch.testing.assert_close((q.log_prob(codes).exp()[..., None] * codes).sum(0), q.mean)


def test_it_is_torchs():
    q, p = logits(4, 3, 5), logits(3, 5).flip(0)
    ours, theirs = OneHot(q), Independent(OneHotCategorical(logits=q), 1)
    z = ours.sample((7,))
    assert z.shape == (7, 4, 15)
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z.view(7, 4, 3, 5)))
    expected = kl_divergence(theirs, Independent(OneHotCategorical(logits=p), 1))
    torch.testing.assert_close(kl_divergence(ours, OneHot(p)), expected)


def test_draws_are_one_hot_and_as_frequent_as_probable():
    torch.manual_seed(0)
    q = OneHot(logits(3, 5))
    z = q.rsample((100_000,))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert (z.view(-1, 3, 5).sum(-1) == 1).all()
    error = (q.mean * (1 - q.mean) / 100_000).sqrt()
    assert ((z.mean(0) - q.mean).abs() < 5 * error).all()
    pair = (z[:, 0] * z[:, 5]).mean()  # of two variables: independent
    assert abs(pair - q.mean[0] * q.mean[5]) < 0.005


def test_the_kl_to_the_uniform_prior_is_its_formula_and_the_mean_log_ratio():
    torch.manual_seed(0)
    q, p = OneHot(logits(4, 3, 5)), UniformCategorical(3, 5).double()()
    entropy = -(q.mean * q.mean.log()).sum(-1)
    kl = kl_divergence(q, p)
    torch.testing.assert_close(kl, 3 * math.log(5) - entropy)
    torch.testing.assert_close(kl_divergence(q.elementwise(), p.elementwise()).sum(1), kl)
    assert kl_divergence(q.elementwise(), p.elementwise()).shape == (4, 3)
    z = q.sample((50_000,))
    ratio = q.log_prob(z) - p.log_prob(z)
    assert ((ratio.mean(0) - kl).abs() < 5 * ratio.std(0) / 50_000**0.5).all()


def test_extreme_logits_stay_finite():
    q = OneHot(torch.tensor([[[0.0, -500.0], [500.0, 0.0]]]))
    p = UniformCategorical(2, 2)()
    assert kl_divergence(q, p).item() == pytest.approx(2 * math.log(2))
    assert q.log_prob(torch.tensor([[0.0, 1.0, 1.0, 0.0]])).item() == -500.0


def test_the_uniform_prior():
    prior = UniformCategorical(3, 5)
    assert prior.dim == 15
    assert prior().event_shape == (15,)
    codes = all_codes(3, 5).float()
    torch.testing.assert_close(prior().log_prob(codes), torch.full((125,), -3 * math.log(5)))
    assert prior.double()().sample((2,)).dtype == torch.float64
    assert not prior.state_dict()


@pytest.mark.parametrize(("sizes", "message"), [((0, 5), "at least 1 variable"), ((3, 1), "at least 2 classes")])
def test_no_variables_and_one_class_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        UniformCategorical(*sizes)


def test_codes_of_other_sizes_are_refused_though_their_lengths_agree():
    with pytest.raises(UserError, match="5 variables of 3 classes, but the prior's has 3 of 5"):
        UniformCategorical(3, 5).check_posterior(OneHot(torch.zeros(2, 5, 3)))
    with pytest.raises(UserError, match="one-hot codes, as GumbelSoftmaxHead's, not of DiagonalNormal's"):
        UniformCategorical(3, 5).check_posterior(NormalHead()(torch.zeros(2, 2, 15)))
    UniformCategorical(3, 5).check_posterior(OneHot(torch.zeros(2, 3, 5)))
