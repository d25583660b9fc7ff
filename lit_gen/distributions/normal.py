"""Diagonal normal distributions: posteriors of codes, likelihoods of real values."""

from torch import Tensor, nn
from torch.distributions import Independent, Normal

from lit_gen.distributions.precision import at_least_single
from lit_gen.errors import UserError


class NormalHead(nn.Module):
    """Parameters -> independent normal variables: batch (B,), event event_shape.

    With ``scale`` given, the parameters (B, *event_shape) are the means and every element has that standard
    deviation. Without it they are (B, 2, *event_shape), means and logarithms of scales, and the standard deviation is
    exp(log scale) + min_scale. The distribution's density, KL divergence and draws all use that one scale; densities
    carry their constant, -log(scale) - log(2 pi) / 2 for each element.

    Args:
        scale: the fixed standard deviation, or None to read one for each element.
        min_scale: what a learned standard deviation stays above: without it, the density of pixels that are always
            black has no maximum.

    Raises:
        UserError: a scale that is not positive, or parameters without the dimension of length 2.
    """

    def __init__(self, scale: float | None = None, min_scale: float = 1e-4) -> None:
        super().__init__()
        if scale is not None and not scale > 0:
            raise UserError(f"a NormalHead's scale must be positive, got {scale}")
        if not min_scale >= 0:
            raise UserError(f"a NormalHead's min_scale must not be negative, got {min_scale}")
        self.scale = scale
        self.min_scale = min_scale
        self.params_per_output = 2 if scale is None else 1

    def forward(self, params: Tensor) -> Independent:
        """(B, *event_shape) with a fixed scale, else (B, 2, *event_shape) -> a distribution with batch (B,)."""
        params = at_least_single(params)
        if self.scale is not None:
            mean, scale = params, params.new_full((), self.scale)
        else:
            if params.dim() < 2 or params.shape[1] != 2:
                raise UserError(
                    f"a NormalHead with a learned scale needs parameters of shape (B, 2, ...), got "
                    f"{tuple(params.shape)}: give the network before it params_per_output 2"
                )
            mean, log_scale = params.unbind(1)
            scale = log_scale.exp() + self.min_scale
        return Independent(Normal(mean, scale, validate_args=False), mean.dim() - 1, validate_args=False)
