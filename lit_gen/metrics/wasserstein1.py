"""The 1-Wasserstein distance on the line: the area between two quantile functions."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lit_gen.errors import UserError

_NODES = 8
_FEWEST_INTERVALS = 4096


def wasserstein1(x: Tensor, y: Tensor) -> float:
    """W1 of two samples (N,) and (M,): the area between their empirical distribution functions, exact.

    Raises:
        UserError: a sample is empty or not finite.
    """
    x, y = _sorted(x), _sorted(y)
    points = torch.cat([x, y]).sort().values
    below = [torch.searchsorted(a, points[:-1], right=True).double() / len(a) for a in (x, y)]
    return float(((below[0] - below[1]).abs() * points.diff()).sum())


def wasserstein1_from_quantiles(x: Tensor, quantile: Callable[[Tensor], Tensor]) -> float:
    """W1 of a sample (N,) and a distribution: the integral over u in (0, 1) of |x_(ceil(N u)) - quantile(u)|.

    Exact but for quadrature: Gauss-Legendre with 8 nodes in each of at least 4,096 intervals, in none of which the
    sample's quantile function has a step.

    Args:
        x: the sample.
        quantile: probabilities in (0, 1), float64 -> where the distribution function has them; elementwise.

    Raises:
        UserError: the sample is empty or not finite.
    """
    x = _sorted(x)
    parts = -(-_FEWEST_INTERVALS // len(x))
    intervals = len(x) * parts
    nodes, weights = (torch.from_numpy(a).to(x.device) / 2 for a in np.polynomial.legendre.leggauss(_NODES))
    start = torch.arange(intervals, dtype=torch.float64, device=x.device)
    u = (start[:, None] + 0.5 + nodes) / intervals  # (intervals, nodes)
    gap = (x.repeat_interleave(parts)[:, None] - quantile(u)).abs()
    return float((gap * weights).sum() / intervals)


def _sorted(x: Tensor) -> Tensor:
    """(N,) float64, ascending, on a device that has it."""
    if x.dim() != 1:
        raise ValueError(f"expected numbers (N,), got {tuple(x.shape)}")
    if len(x) == 0 or not torch.isfinite(x).all():
        raise UserError("the numbers to compare must be some and finite: has the model diverged?")
    x = x.detach()
    return (x.cpu() if x.device.type == "mps" else x).double().sort().values


class Wasserstein1(Metric):
    """``wasserstein1_from_quantiles`` of a sample that comes in batches and on several ranks.

    Keeps all numbers. Every rank computes all of it.

    Args:
        quantile: the distribution's quantile function, as there.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, quantile: Callable[[Tensor], Tensor], **kwargs) -> None:
        super().__init__(**kwargs)
        self.quantile = quantile
        self.add_state("x", [], dist_reduce_fx="cat")

    def update(self, x: Tensor) -> None:
        """Add numbers, (B,) or (B, 1); every rank must have added some, though they be none, (0,)."""
        self.x.append(x.detach().flatten())

    def compute(self) -> float:
        """Of the numbers of all ranks; raises as ``wasserstein1_from_quantiles`` does."""
        return wasserstein1_from_quantiles(dim_zero_cat(self.x), self.quantile)
