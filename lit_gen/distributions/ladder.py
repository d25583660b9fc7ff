"""Posteriors that correct a prior in layers by what the data say of each layer.

Sønderby, Raiko, Maaløe, Sønderby & Winther, Ladder Variational Autoencoders (2016), https://arxiv.org/abs/1602.02282
"""

from torch import Tensor, nn

from lit_gen.distributions.hierarchical import Conditional, HierarchicalPrior, LayeredCode
from lit_gen.distributions.normal import DiagonalNormal
from lit_gen.errors import UserError


def precision_weighted(a: DiagonalNormal, b: DiagonalNormal) -> DiagonalNormal:
    """The normalized product of two normal densities: precisions add up, means are weighted by them."""
    a_precision, b_precision = a.scale**-2, b.scale**-2
    precision = a_precision + b_precision
    return DiagonalNormal((a.loc * a_precision + b.loc * b_precision) / precision, precision**-0.5)


class LadderHead(nn.Module):
    """Estimates of all layers, and the prior -> q(z|x) = q(z_L|x) q(z_{L-1}|z_L, x) … q(z_1|z_2, x).

    q(z_L|x) is the estimate of z_L itself, which is how the paper has it; below it each q(z_l|z_{l+1}, x) is the
    product of the estimate of z_l, as if it were a likelihood, with the prior's p(z_l|z_{l+1}), normalized.

    Args:
        head: makes each layer's estimate of the encoder's output; gives ``DiagonalNormal``, as ``NormalHead``.

    Raises:
        UserError: at the first use, a prior that isn't in layers, estimates of another length than the prior's codes,
            or layers that aren't normal.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.params_per_output = head.params_per_output

    def forward(self, params: Tensor, prior: HierarchicalPrior) -> LayeredCode:
        """The parameters of all layers' estimates, (B, P, Z_1 + … + Z_L) -> batch (B,), event (Z_1 + … + Z_L,)."""
        if not isinstance(prior, HierarchicalPrior):
            raise UserError(f"a LadderHead needs a HierarchicalPrior, not a {type(prior).__name__}")
        if params.shape[-1] != prior.dim:
            raise UserError(
                f"the encoder estimates layers of {params.shape[-1]} numbers in all, but the prior's layers "
                f"{prior.dims} have {prior.dim}: make the encoder's latent_dims those"
            )
        top, *estimates = [self.head(part) for part in params.split(prior.dims, -1)][::-1]
        conditionals = [
            _corrected(conditional, estimate)
            for conditional, estimate in zip(prior.conditionals(), estimates, strict=True)
        ]
        return LayeredCode(top, conditionals, prior.dims, upwards=False)


def _corrected(prior: Conditional, estimate: DiagonalNormal) -> Conditional:
    """q(z_l|z_{l+1}, x) of p(z_l|z_{l+1}) and the estimate of z_l from x, batch (B,)."""

    def posterior(above: Tensor) -> DiagonalNormal:
        p = prior(above)
        if not (isinstance(p, DiagonalNormal) and isinstance(estimate, DiagonalNormal)):
            raise UserError("a LadderHead weighs normal layers: give it and the HierarchicalPrior a NormalHead")
        num_draws = len(above) // len(estimate.loc)
        repeated = DiagonalNormal(estimate.loc.repeat(num_draws, 1), estimate.scale.repeat(num_draws, 1))
        return precision_weighted(repeated, p)

    return posterior
