"""The variational mixture of posteriors."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.distributions.mixture import Mixture
from lit_gen.errors import UserError


class VampPrior(nn.Module):
    """p(z) = 1/M sum_m q(z|u_m), with M learned pseudo-inputs u_m: the prior of a ``VampVAE``.

    Tomczak & Welling, VAE with a VampPrior (2018), Eq. 9, https://arxiv.org/abs/1705.07120. The pseudo-inputs are
    sigmoids of free parameters, which start as noise; the paper's hard limits would leave those outside without a
    gradient.

    Args:
        dim: Z.
        event_shape: of an example.
        num_pseudo_inputs: M.

    Raises:
        UserError: a number below 1.
    """

    def __init__(self, dim: int, event_shape: int | tuple[int, ...], num_pseudo_inputs: int = 500) -> None:
        super().__init__()
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        for name, value in [("dim", dim), ("num_pseudo_inputs", num_pseudo_inputs), ("event_shape", min(shape))]:
            if value < 1:
                raise UserError(f"a VampPrior's {name} must be at least 1, got {value}")
        self.dim = dim
        self.logits = nn.Parameter(torch.randn(num_pseudo_inputs, *shape))

    def pseudo_inputs(self) -> Tensor:
        """(M, *event_shape), in (0, 1)."""
        return self.logits.sigmoid()

    def check_posterior(self, posterior: Distribution) -> None:
        """Refuse posteriors that can't be mixed.

        Raises:
            UserError: their codes are in layers or discrete.
        """
        if not hasattr(posterior, "rows"):
            raise UserError(
                f"a VampPrior mixes posteriors as NormalHead, FullNormalHead and FlowPosterior make them, not a "
                f"{type(posterior).__name__}"
            )

    def forward(self, posterior: Callable[[Tensor], Distribution] | None = None) -> Mixture:
        """The distribution, batch (), event (dim,), given how an (M, *event_shape) batch has its q(z|x).

        Raises:
            UserError: that isn't given: the model has no place for such a prior.
        """
        if posterior is None:
            raise UserError("a VampPrior is made of the model's own posteriors: take the model VampVAE")
        return Mixture(posterior(self.pseudo_inputs()))
