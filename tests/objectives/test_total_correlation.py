"""The KL's three terms: their sum, what each is of known Gaussians, and the objective that weighs one of them."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Distribution, MultivariateNormal

from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.objectives.total_correlation import BetaTCVAE, divided_kl
from lit_gen.objectives.variational import ELBO, Inference, draw

DOUBLE = {"dtype": torch.float64}


def gaussian_codes(num, scale, tie, generator):
    """q(z|x) = N(x, scale^2 I) with x ~ N(0, C), and in closed form TC(z), z ~ N(0, C + scale^2 I)."""
    generator = torch.Generator().manual_seed(generator)
    mix = torch.eye(3, **DOUBLE) + tie * torch.tensor([[0.0, 0, 0], [0.8, 0, 0], [-0.5, 0.6, 0]], **DOUBLE)
    loc = torch.randn(num, 3, generator=generator, **DOUBLE) @ mix.T
    covariance = mix @ mix.T + scale**2 * torch.eye(3, **DOUBLE)
    exact = (covariance.diagonal().log().sum() - torch.logdet(covariance)) / 2
    z = loc + scale * torch.randn(num, 3, generator=generator, **DOUBLE)
    return DiagonalNormal(loc, scale * torch.ones(num, 3, **DOUBLE)), z, covariance, exact


def test_the_three_terms_sum_to_the_sampled_kl():
    torch.manual_seed(0)
    q = DiagonalNormal(torch.randn(50, 4, **DOUBLE), torch.rand(50, 4, **DOUBLE) + 0.1)
    p = StandardNormal(4).double()()
    z, log_qz = (part[0] for part in draw(q, 1))
    terms = divided_kl(z, log_qz, q, p)
    torch.testing.assert_close(sum(terms), log_qz - p.log_prob(z))
    assert all(term.shape == (50,) for term in terms)


def test_each_term_is_its_formula_pair_by_pair():
    torch.manual_seed(0)
    q, p = DiagonalNormal(torch.randn(5, 2), torch.rand(5, 2) + 0.1), StandardNormal(2)()
    z, log_qz = (part[0] for part in draw(q, 1))
    terms = divided_kl(z, log_qz, q, p)
    for i in range(5):
        density = torch.stack([torch.distributions.Normal(q.loc[j], q.scale[j]).log_prob(z[i]).exp() for j in range(5)])
        joint, alone = density.prod(1).mean().log(), density.mean(0).log().sum()
        torch.testing.assert_close(terms.index_code_information[i], log_qz[i] - joint)
        torch.testing.assert_close(terms.total_correlation[i], joint - alone)
        torch.testing.assert_close(terms.dimension_wise[i], alone - p.log_prob(z[i]))


@pytest.mark.parametrize("tie", [0.0, 0.7, 1.5])
def test_the_estimates_meet_the_closed_forms_of_gaussians(tie):
    """In a batch of 2,000 each draw's own posterior adds little: 0.06 nats to the first two."""
    q, z, covariance, exact = gaussian_codes(2000, 0.7, tie, generator=0)
    terms = divided_kl(z, q.log_prob(z), q, StandardNormal(3).double()())
    assert float(terms.total_correlation.mean()) == pytest.approx(float(exact), abs=0.06)
    entropy = MultivariateNormal(torch.zeros(3, **DOUBLE), covariance).entropy()
    information = entropy - 1.5 * math.log(2 * math.pi * math.e * 0.7**2)
    assert float(terms.index_code_information.mean()) == pytest.approx(float(information), abs=0.06)
    dimension_wise = (covariance.diagonal() - 1 - covariance.diagonal().log()).sum() / 2
    assert float(terms.dimension_wise.mean()) == pytest.approx(float(dimension_wise), abs=0.15)


def test_small_batches_estimate_the_total_correlation_too_high_never_too_low():
    means = []
    for size in (16, 128, 2000):
        parts = [divided_kl(z, q.log_prob(z), q, StandardNormal(3).double()()).total_correlation.mean()
                 for q, z, *_ in (gaussian_codes(size, 0.3, 0.7, seed) for seed in range(2000 // size))]  # fmt: skip
        means.append(float(torch.stack(parts).mean()))
    exact = float(gaussian_codes(2, 0.3, 0.7, 0)[3])
    assert means[0] > means[1] > means[2] > exact


def test_its_gradient_is_that_of_the_closed_form():
    """Along the tie between coordinates: of batches of 256, to a tenth."""
    estimated = []
    for seed in range(20):
        tie = torch.tensor(0.7, **DOUBLE, requires_grad=True)
        q, z, _, exact = gaussian_codes(256, 0.5, tie, seed)
        terms = divided_kl(z, q.log_prob(z), q, StandardNormal(3).double()())
        estimated.append(torch.autograd.grad(terms.total_correlation.mean(), tie, retain_graph=True)[0])
    closed = torch.autograd.grad(exact, tie)[0]
    assert float(torch.stack(estimated).mean() / closed) == pytest.approx(1.0, abs=0.1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(4, 6, **DOUBLE), nn.Linear(3, 4, **DOUBLE)
        self.head = NormalHead()

    def inference(self, x):
        likelihood = lambda z: DiagonalNormal(self.decoder(z), torch.ones(1, **DOUBLE)).log_prob(x)  # noqa: E731
        q = self.head(self.encoder(x).unflatten(1, (2, 3)))
        return Inference(q, StandardNormal(3).double()(), likelihood, None)


X = torch.randn(20, 4, generator=torch.Generator().manual_seed(5), **DOUBLE)


def test_beta_weighs_the_total_correlation_alone():
    model = Model()
    torch.manual_seed(1)
    bound = BetaTCVAE()(model.inference(X), 6.0)
    torch.manual_seed(1)
    inference = model.inference(X)
    z, log_qz = (part[0] for part in draw(inference.posterior, 1))
    terms = divided_kl(z, log_qz, inference.posterior, inference.prior)
    torch.testing.assert_close(bound.lower_bound, bound.log_likelihood - bound.kl)
    torch.testing.assert_close(bound.value, bound.lower_bound - 5.0 * terms.total_correlation)
    got = torch.autograd.grad(bound.value.mean(), list(model.parameters()))
    # Eq. 4 of the paper with the three terms one by one; only the KL's noise differs, which the closed form hasn't.
    weighed = bound.lower_bound.detach().mean() - 5.0 * terms.total_correlation.mean()
    torch.testing.assert_close(bound.value.mean(), weighed)
    assert all(gradient.isfinite().all() for gradient in got)


def test_on_average_it_is_equation_4():
    """E[log p(x|z) - I - beta TC - sum KL], all three sampled, against the closed form's, over many draws."""
    model, beta = Model(), 3.0
    torch.manual_seed(2)
    ours, sampled = [], []
    with torch.no_grad():
        for _ in range(400):
            ours.append(BetaTCVAE()(model.inference(X), beta).value.mean())
            inference = model.inference(X)
            z, log_qz = (part[0] for part in draw(inference.posterior, 1))
            information, tc, rest = divided_kl(z, log_qz, inference.posterior, inference.prior)
            sampled.append((inference.log_px(z) - information - beta * tc - rest).mean())
    ours, sampled = torch.stack(ours), torch.stack(sampled)
    noise = (ours.var() / 400 + sampled.var() / 400).sqrt()
    assert (ours.mean() - sampled.mean()).abs() < 4 * noise


def test_at_weight_one_it_is_the_bound_to_the_bit():
    model = Model()
    torch.manual_seed(3)
    ours = BetaTCVAE()(model.inference(X))
    torch.manual_seed(3)
    plain = ELBO()(model.inference(X))
    torch.testing.assert_close(ours.value, plain.value)
    assert torch.equal(ours.value, ours.lower_bound)


def test_posteriors_without_independent_coordinates_are_refused():
    class Tied(MultivariateNormal):
        pass

    q = Tied(torch.zeros(4, 2), torch.eye(2))
    z = q.sample()
    with pytest.raises(UserError, match="independent coordinates, not Tied"):
        divided_kl(z, q.log_prob(z), q, StandardNormal(2)())
    assert issubclass(Tied, Distribution)
