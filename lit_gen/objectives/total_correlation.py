"""The KL term taken apart by the aggregate posterior, and the bound that charges its total correlation more.

Chen et al., Isolating Sources of Disentanglement in VAEs (2018), https://arxiv.org/abs/1802.04942
"""

from math import log
from typing import NamedTuple

from torch import Tensor
from torch.distributions import Distribution

from lit_gen.errors import UserError
from lit_gen.objectives.variational import Bound, Inference, VariationalObjective, closed_form_kl, draw


class DividedKL(NamedTuple):
    """log q(z|x) - log p(z) at a draw for each example as the sum of three terms, Eq. 2 of Chen et al.; (B,) nats each.

    Attributes:
        index_code_information: log q(z|x) - log q(z), what the code says about which example it is of.
        total_correlation: log q(z) - sum_j log q(z_j), how far the coordinates depend on each other.
        dimension_wise: sum_j log q(z_j) - log p(z), how far each alone is from a factorized prior.
    """

    index_code_information: Tensor
    total_correlation: Tensor
    dimension_wise: Tensor


def divided_kl(z: Tensor, log_qz_x: Tensor, posterior: Distribution, prior: Distribution) -> DividedKL:
    """The three terms with q(z) estimated from the batch itself, as the mean of q(z|x_j) over its examples.

    This is minibatch-weighted sampling, Eq. 3 of Chen et al., less its constants: there the mean is divided by the
    number N of examples in the data set too, which moves the information by log N, the total correlation of Z
    coordinates by (Z - 1) log N and the rest by -Z log N, and no gradient. The total correlation comes out too high,
    the more so the smaller the batch and the narrower the posteriors: each draw meets its own posterior in the mean.

    Args:
        z: (B, Z), a draw from each posterior.
        log_qz_x: (B,), log q(z|x).
        posterior: q(z|x), of independent coordinates: batch (B,), event (Z,).
        prior: p(z): batch () or (B,), event (Z,).

    Raises:
        UserError: a posterior whose coordinates aren't independent.
    """
    try:
        each = posterior.elementwise()
    except AttributeError:
        raise UserError(
            f"the total correlation needs a posterior of independent coordinates, not {type(posterior).__name__}"
        ) from None
    log_pairs = each.log_prob(z[:, None])  # (B, B, Z): draw i at the posterior of example j
    log_qz = log_pairs.sum(2).logsumexp(1) - log(len(z))
    log_product = (log_pairs.logsumexp(1) - log(len(z))).sum(1)
    return DividedKL(log_qz_x - log_qz, log_qz - log_product, log_product - prior.log_prob(z))


class BetaTCVAE(VariationalObjective):
    """E_q[log p(x|z)] - I(x; z) - beta TC(z) - sum_j KL(q(z_j) || p(z_j)): the evidence lower bound with the total
    correlation of its KL, and no other part of it, weighed by ``beta``.

    Chen et al. (2018), Eq. 4 with alpha = gamma = 1, which is the bound less (beta - 1) TC(z). Here the bound's KL is
    in closed form, of which the three terms' sum is an estimate; TC(z) is that of ``divided_kl``. Over several
    processes each estimates it from its own share of the batch.

    Raises:
        UserError: at the first bound, a pair of distributions without a closed form, or a posterior whose coordinates
            aren't independent.
    """

    def forward(self, inference: Inference, beta: float = 1.0) -> Bound:
        q, p = inference.posterior, inference.prior
        draws = draw(q, 1)
        z, log_qz_x = draws.z[0], draws.log_qz[0]
        log_px_z, kl = inference.log_px(z), closed_form_kl(q, p)
        bound = Bound(log_px_z, kl, log_px_z - kl, log_px_z - kl)
        if beta == 1.0:
            return bound
        excess = divided_kl(z, log_qz_x, q, p).total_correlation
        return bound._replace(value=bound.lower_bound - (beta - 1.0) * excess)
