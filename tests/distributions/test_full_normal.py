import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from lit_gen.distributions.full_normal import FullNormal, FullNormalHead
from lit_gen.distributions.mixture import MixturePrior
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError


def make(dim=3, seed=0, **kwargs):
    torch.manual_seed(seed)
    head = FullNormalHead(dim, **kwargs).double()
    return head(torch.randn(5, head.params_per_output, dim).double())


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_it_is_torchs_multivariate_normal(dim):
    q = make(dim)
    theirs = MultivariateNormal(q.loc, scale_tril=q.scale_tril)
    assert (q.batch_shape, q.event_shape) == (theirs.batch_shape, theirs.event_shape)
    for shape in [(5, dim), (7, 5, dim), (2, 3, 5, dim), (7, 1, dim), (dim,)]:
        z = torch.randn(shape).double()
        torch.testing.assert_close(q.log_prob(z), theirs.log_prob(z))
    torch.testing.assert_close(q.covariance_matrix, theirs.covariance_matrix)
    torch.testing.assert_close(q.variance, theirs.variance)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_the_kl_is_the_closed_form(dim):
    q, loc, scale = make(dim), torch.randn(dim).double(), torch.rand(dim).double() + 0.2
    theirs = MultivariateNormal(q.loc, scale_tril=q.scale_tril)
    expected = kl_divergence(theirs, MultivariateNormal(loc, torch.diag(scale**2)).expand((5,)))
    torch.testing.assert_close(kl_divergence(q, DiagonalNormal(loc, scale)), expected)
    unit = MultivariateNormal(torch.zeros(dim).double(), torch.eye(dim).double()).expand((5,))
    torch.testing.assert_close(kl_divergence(q, StandardNormal(dim).double()()), kl_divergence(theirs, unit))


def test_draws_have_the_covariance_and_know_their_density():
    q = make()
    with torch.no_grad():
        z, log_prob = q.rsample_with_log_prob((100_000,))
    torch.testing.assert_close(q.log_prob(z), log_prob)
    for i in range(5):
        size = q.covariance_matrix[i].abs().max().item()
        torch.testing.assert_close(torch.cov(z[:, i].T), q.covariance_matrix[i], atol=0.03 * size, rtol=0)
        assert ((z[:, i].mean(0) - q.mean[i]).abs() < 5 * (q.variance[i] / 100_000).sqrt()).all()
    torch.manual_seed(1)
    one = q.rsample((2,))
    torch.manual_seed(1)
    assert torch.equal(one, q.rsample_with_log_prob((2,)).z)


@pytest.mark.parametrize("dim", [1, 2, 5, 6])
def test_every_number_below_the_diagonal_is_read_once(dim):
    head = FullNormalHead(dim, min_scale=0.01)
    assert head.params_per_output == 2 + dim // 2
    params = torch.arange(1.0, 1 + head.params_per_output * dim).view(1, -1, dim) / 10
    q = head(params)
    torch.testing.assert_close(q.mean, params[:, 0])
    torch.testing.assert_close(q.scale_tril[0].diagonal(), params[0, 1].exp() + 0.01)
    assert torch.equal(q.scale_tril.triu(1), torch.zeros(1, dim, dim))
    row, column = torch.tril_indices(dim, dim, -1)
    assert torch.equal(q.scale_tril[0, row, column], params[0, 2:].flatten()[: len(row)])


def test_without_dependence_it_is_the_diagonal_normal():
    params = torch.randn(5, 2, 4)
    head = FullNormalHead(4)
    full, diagonal = head(torch.cat([params, torch.zeros(5, 2, 4)], 1)), NormalHead()(params)
    z = torch.randn(7, 5, 4)
    torch.testing.assert_close(full.log_prob(z), diagonal.log_prob(z))
    prior = StandardNormal(4)()
    torch.testing.assert_close(kl_divergence(full, prior), kl_divergence(diagonal, prior))


def test_half_precision_products_do_not_part_draws_from_their_density():
    q = make()
    q = FullNormal(q.loc.float(), q.scale_tril.float())
    with torch.autocast("cpu", torch.bfloat16):
        z, log_prob = q.rsample_with_log_prob((50,))
        torch.testing.assert_close(q.log_prob(z), log_prob, rtol=1e-4, atol=1e-3)
    assert z.dtype == torch.float32


def test_a_mixture_has_no_kl_in_closed_form():
    with pytest.raises(NotImplementedError):
        kl_divergence(make(), MixturePrior(3, 2)())


def test_says_what_it_needs():
    with pytest.raises(UserError, match=r"params_per_output 4$"):
        FullNormalHead(5)(torch.zeros(3, 2, 5))
    with pytest.raises(UserError, match="latent size and the head's dim equal"):
        FullNormalHead(5)(torch.zeros(3, 4, 6))
    with pytest.raises(UserError, match="dim must be at least 1"):
        FullNormalHead(0)
    with pytest.raises(UserError, match="min_scale"):
        FullNormalHead(2, min_scale=-1.0)
