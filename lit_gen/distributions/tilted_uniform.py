"""The density e^(t u) / Z(t) of u in [0, 1], Z(t) = (e^t - 1) / t: its formulas lose all digits near t = 0."""

import torch
from torch import Tensor

_NEAR = 0.5  # below it the series is exact to 1e-11, above it the formula to the rounding of single precision


def log_normalizer(t: Tensor) -> Tensor:
    """log Z(t), elementwise, any t: the cumulant generating function of the uniform distribution on [0, 1]."""
    near = t.abs() < _NEAR
    # Each branch gets arguments that it can take, for a gradient of NaN times zero would be NaN.
    small, large = torch.where(near, t, 0.0), torch.where(near, 1.0, t)
    # log(sinh(t/2) / (t/2)) in powers of t^2
    s = small.square()
    series = s * (1 / 24 - s * (1 / 2880 - s * (1 / 181440 - s * (1 / 9676800 - s / 479001600))))
    size = large.abs()
    return torch.where(near, 0.5 * small + series, large.relu() + (-torch.expm1(-size) / size).log())


def mean(t: Tensor) -> Tensor:
    """The mean of u, in (0, 1), elementwise: the derivative of ``log_normalizer``."""
    near = t.abs() < _NEAR
    small, large = torch.where(near, t, 0.0), torch.where(near, 1.0, t)
    s = small.square()
    series = small * (1 / 12 - s * (1 / 720 - s * (1 / 30240 - s * (1 / 1209600 - s / 47900160))))
    # Below -80 the first term is nothing, and its gradient would overflow.
    formula = -1 / torch.expm1(-large.clamp_min(-80.0)) - 1 / large
    return torch.where(near, 0.5 + series, formula)


def quantile(t: Tensor, probability: Tensor) -> Tensor:
    """Where the distribution function is ``probability``, in [0, 1]; elementwise, broadcast."""
    # For t < 0 the formula is stable; u with t is 1 - u with -t.
    down = -t.abs().clamp_min(1e-6)
    u = torch.log1p(probability * torch.expm1(down)) / down
    return torch.where(t < 0, u, 1.0 - torch.log1p((1.0 - probability) * torch.expm1(down)) / down).clamp(0.0, 1.0)
