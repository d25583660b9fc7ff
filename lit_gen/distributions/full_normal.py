"""Normal distributions with a full covariance: posteriors of codes whose coordinates depend on each other."""

from math import log, pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, register_kl

from lit_gen.distributions.draws import ScoredDraws
from lit_gen.distributions.normal import DiagonalNormal
from lit_gen.distributions.parameters import several_params
from lit_gen.distributions.precision import full_precision
from lit_gen.errors import UserError


class FullNormal(Distribution):
    """z = loc + L noise: batch (B,), event (Z,), covariance L L'.

    Kingma & Welling, An Introduction to Variational Autoencoders (2019), Section 2.5.1,
    https://arxiv.org/abs/1906.02691. ``kl_divergence`` to a ``DiagonalNormal`` has its closed form.

    Args:
        loc: (B, Z), means.
        scale_tril: (B, Z, Z), L: lower triangular with a positive diagonal.
    """

    arg_constraints = {}
    has_rsample = True

    def __init__(self, loc: Tensor, scale_tril: Tensor) -> None:
        self.loc = loc
        self.scale_tril = scale_tril
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, Z)."""
        return self.loc

    @property
    def covariance_matrix(self) -> Tensor:
        """(B, Z, Z)."""
        with full_precision(self.loc):
            return self.scale_tril @ self.scale_tril.mT

    @property
    def variance(self) -> Tensor:
        """(B, Z), of each coordinate alone."""
        return self.scale_tril.square().sum(-1)

    def rows(self, index: Tensor) -> "FullNormal":
        """Those of the batch's members that ``index``, (N,), names: batch (N,)."""
        return FullNormal(self.loc[index], self.scale_tril[index])

    def _log_scale(self) -> Tensor:
        """(B,), half the log-determinant of the covariance."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def _log_prob_of_noise(self, squares: Tensor) -> Tensor:
        """(..., B) squared lengths of the noise -> log-densities of the draws that it gives."""
        return -0.5 * (squares + self.loc.shape[-1] * log(2 * pi)) - self._log_scale()

    def rsample_with_log_prob(self, sample_shape: tuple[int, ...] = ()) -> ScoredDraws:
        """(*sample_shape, B, Z) draws and (*sample_shape, B) log-densities, read off the noise."""
        noise = torch.randn((*sample_shape, *self.loc.shape), dtype=self.loc.dtype, device=self.loc.device)
        with full_precision(self.loc):
            z = self.loc + torch.einsum("bij,...bj->...bi", self.scale_tril, noise)
        return ScoredDraws(z, self._log_prob_of_noise(noise.square().sum(-1)))

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, Z) draws, differentiable in loc and L."""
        return self.rsample_with_log_prob(sample_shape).z

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., B, Z), where B may be 1 for all -> (..., B), log-densities in nats."""
        off = z - self.loc
        columns = off.reshape(-1, *off.shape[-2:]).permute(1, 2, 0)  # (B, Z, N): one triangular solve an example
        with full_precision(self.loc):
            noise = torch.linalg.solve_triangular(self.scale_tril, columns, upper=False)
        return self._log_prob_of_noise(noise.square().sum(1).T.reshape(off.shape[:-1]))


@register_kl(FullNormal, DiagonalNormal)
def _kl_full_diagonal(q: FullNormal, p: DiagonalNormal) -> Tensor:
    spread = (q.scale_tril / p.scale.unsqueeze(-1)).square().sum(-1)
    distance = ((q.loc - p.loc) / p.scale).square()
    return 0.5 * (spread + distance - 1.0 + 2.0 * p.scale.log()).sum(-1) - q._log_scale()


class FullNormalHead(nn.Module):
    """Parameters (B, 2 + Z // 2, Z) -> a normal distribution with a full covariance: batch (B,), event (Z,).

    The first two rows are those of ``NormalHead``: the mean, and the logarithms of L's diagonal, to which ``min_scale``
    is added. The other rows, read as one vector, hold the Z (Z - 1) / 2 numbers below L's diagonal, row by row; where
    Z is even its last Z / 2 entries are not read.

    Args:
        dim: Z.
        min_scale: what the diagonal stays above.

    Raises:
        UserError: a number out of range, or parameters of another shape.
    """

    def __init__(self, dim: int, min_scale: float = 1e-4) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"a FullNormalHead's dim must be at least 1, got {dim}")
        if not min_scale >= 0:
            raise UserError(f"a FullNormalHead's min_scale must not be negative, got {min_scale}")
        self.dim = dim
        self.min_scale = min_scale
        self.params_per_output = 2 + dim // 2

    def forward(self, params: Tensor) -> FullNormal:
        """(B, 2 + Z // 2, Z) -> a distribution with batch (B,)."""
        params = several_params(params, self.params_per_output, f"FullNormalHead of {self.dim} dimensions")
        if params.shape[2:] != (self.dim,):
            raise UserError(
                f"a FullNormalHead of {self.dim} dimensions got parameters of shape {tuple(params.shape)}: make the "
                "encoder's latent size and the head's dim equal"
            )
        scale_tril = torch.diag_embed(params[:, 1].exp() + self.min_scale)
        row, column = torch.tril_indices(self.dim, self.dim, -1, device=params.device)
        scale_tril[:, row, column] = params[:, 2:].flatten(1)[:, : len(row)]
        return FullNormal(params[:, 0], scale_tril)
