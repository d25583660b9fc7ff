"""What distributions of a location and a scale share: where the scale comes from, and how the event is summed over."""

from math import log

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.distributions.parameters import several_params
from lit_gen.errors import UserError
from lit_gen.tensor import at_least_single


class LocationScale(Distribution):
    """Independent variables loc + scale * noise.

    ``torch.distributions.Independent`` with less ceremony: in a small model's training step the generic classes'
    bookkeeping costs more than their arithmetic.

    Args:
        loc: (*batch_shape, *event_shape).
        scale: of a shape that expands to that of ``loc``.
        num_event_dims: how many of the last dimensions are one event.
    """

    arg_constraints = {}
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, num_event_dims: int = 1) -> None:
        self.loc = loc
        self.scale = scale if scale.shape == loc.shape else scale.expand_as(loc)
        cut = loc.dim() - num_event_dims
        super().__init__(loc.shape[:cut], loc.shape[cut:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(*batch_shape, *event_shape)."""
        return self.loc

    def elementwise(self) -> "LocationScale":
        """The same variables, each an event of its own: batch (*batch_shape, *event_shape), event ()."""
        return type(self)(self.loc, self.scale, 0)

    def rows(self, index: Tensor) -> "LocationScale":
        """Those of the batch's members that ``index``, (N,), names: batch (N, ...)."""
        return type(self)(self.loc[index], self.scale[index], len(self.event_shape))

    def sum_over_event(self, x: Tensor) -> Tensor:
        """(..., *event_shape) -> (...)."""
        dims = len(self.event_shape)
        return x.flatten(-dims).sum(-1) if dims else x


class LearnedScale(nn.Module):
    """One scale for all elements of all examples, learned with the model's weights.

    At the best scale of a normal likelihood its square is the mean squared error (of a Laplace likelihood it is the
    mean absolute error), which gives reconstruction and KL their relative weights without a beta: Rybkin et al.,
    sigma-VAE (2021), Eq. 4-5, https://arxiv.org/abs/2006.13202. That paper's closed form sets it from the batch at
    hand; here it is a parameter, so that an example's likelihood doesn't depend on its neighbours.

    Args:
        initial: the scale before training.
        min_scale: what it stays above.

    Raises:
        UserError: not 0 <= min_scale < initial.
    """

    def __init__(self, initial: float = 1.0, min_scale: float = 1e-4) -> None:
        super().__init__()
        if not 0 <= min_scale < initial:
            raise UserError(f"a LearnedScale needs 0 <= min_scale < initial, got {min_scale} and {initial}")
        self.min_scale = min_scale
        self.log_scale = nn.Parameter(torch.tensor(log(initial - min_scale)))

    def forward(self) -> Tensor:
        """The scale, a scalar."""
        return at_least_single(self.log_scale).exp() + self.min_scale


class LocationScaleHead(nn.Module):
    """Base of the heads that read a location and perhaps a scale for each element."""

    family: type[LocationScale]
    """The distribution that the parameters are of."""

    def __init__(self, scale: float | LearnedScale | None = None, min_scale: float = 1e-4) -> None:
        super().__init__()
        if isinstance(scale, float | int) and not scale > 0:
            raise UserError(f"a {type(self).__name__}'s scale must be positive, got {scale}")
        if not min_scale >= 0:
            raise UserError(f"a {type(self).__name__}'s min_scale must not be negative, got {min_scale}")
        self.scale = scale
        self.min_scale = min_scale
        self.params_per_output = 2 if scale is None else 1

    def forward(self, params: Tensor) -> LocationScale:
        """(B, *event_shape) with a fixed or a shared scale, else (B, 2, *event_shape) -> a distribution of batch (B,).

        Raises:
            UserError: the dimension of length 2 is missing.
        """
        if self.params_per_output == 2:
            loc, log_scale = several_params(params, 2, f"{type(self).__name__} with a scale for each element").unbind(1)
            return self.family(loc, log_scale.exp() + self.min_scale, loc.dim() - 1)
        params = at_least_single(params)
        scale = self.scale() if isinstance(self.scale, nn.Module) else params.new_full((), self.scale)
        return self.family(params, scale, params.dim() - 1)
