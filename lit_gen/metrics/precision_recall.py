"""Whether samples look like data, and whether all of the data are among them: by balls about points."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lit_gen.errors import UserError

_NEAR = 1e-4
"""Pairs whose squared distance is below this share of the points' own squares are measured again by their difference.
Of the others the expanded square is exact to 1e-11 of itself: sqrt(D) eps / 1e-4 for D in the thousands."""

_PAIRS_NUMBERS = 2**22
"""Numbers that are held for pairs which are measured again at a time."""


class PrecisionRecallResult(NamedTuple):
    """Shares of points; each in [0, 1] but for the density.

    Attributes:
        precision: share of the generated points in the ball of some real point.
        recall: share of the real points in the ball of some generated point.
        density: mean number of real points' balls that a generated point is in, divided by k; 1 is expected of equal
            distributions, and it may be more.
        coverage: share of the real points whose ball holds a generated point; 1 - 2^-k is expected of many points of
            equal distributions, equally many of each.
    """

    precision: float
    recall: float
    density: float
    coverage: float


class InBalls(NamedTuple):
    """What balls about some points hold of some others.

    Attributes:
        num_balls: (Q,) int64, how many balls each query is in.
        hit: (P,) bool, which balls hold a query.
    """

    num_balls: Tensor
    hit: Tensor


def neighbour_radii(points: Tensor, num_neighbours: int, chunk_size: int = 1024) -> Tensor:
    """(P, D) -> (P,) float64 Euclidean distances to the k-th nearest of the *other* points.

    Memory: ``chunk_size`` times P numbers.

    Raises:
        UserError: there are no k others, or points aren't finite.
    """
    if not 1 <= num_neighbours < len(points):
        raise UserError(f"{len(points)} points have no {num_neighbours} other points each as neighbours.")
    points = _prepared(points)
    points = points - points.mean(0)  # see in_balls
    radii = []
    for start in range(0, len(points), chunk_size):
        squares = _squared_distances(points[start : start + chunk_size], points)
        squares[torch.arange(len(squares)), torch.arange(start, start + len(squares))] = torch.inf
        radii.append(squares.topk(num_neighbours, dim=1, largest=False).values[:, -1])
    return torch.cat(radii).sqrt()


def in_balls(queries: Tensor, points: Tensor, radii: Tensor, chunk_size: int = 1024) -> InBalls:
    """What closed balls of radii (P,) about points (P, D) hold of queries (Q, D). Memory as in ``neighbour_radii``."""
    queries, points = _prepared(queries), _prepared(points)
    # Distances keep under a shift, and near the origin fewest pairs have to be measured again.
    centre = points.mean(0)
    queries, points, squared_radii = queries - centre, points - centre, radii.to(points).square()
    # The same point may be told twice with rounding in between: a billionth of the radius is none.
    squared_radii = squared_radii * (1 + 1e-9)
    num_balls, hit = [], torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for chunk in queries.split(chunk_size):
        inside = _squared_distances(chunk, points) <= squared_radii
        num_balls.append(inside.sum(1))
        hit |= inside.any(0)
    return InBalls(torch.cat(num_balls), hit)


def precision_recall(
    real: Tensor, fake: Tensor, num_neighbours: int = 3, density_neighbours: int = 5, chunk_size: int = 1024
) -> PrecisionRecallResult:
    """Improved precision and recall, and density and coverage.

    Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models (2019), Eq. 1 and 2,
    https://arxiv.org/abs/1904.06991; Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models
    (2020), Eq. 3 and 5, https://arxiv.org/abs/2002.09797. A point's ball reaches to its k-th nearest neighbour in its
    own set, itself not counted. All four change with the numbers of points: compare figures of equal counts alone.

    Args:
        real: (N, D) finite.
        fake: (M, D) finite.
        num_neighbours: k of precision and recall.
        density_neighbours: k of density and coverage.
        chunk_size: rows of the N x M distances at a time.

    Raises:
        UserError: fewer points than neighbours, or points that aren't finite.
    """
    of_real = in_balls(fake, real, neighbour_radii(real, num_neighbours, chunk_size), chunk_size)
    of_fake = in_balls(real, fake, neighbour_radii(fake, num_neighbours, chunk_size), chunk_size)
    dense = in_balls(fake, real, neighbour_radii(real, density_neighbours, chunk_size), chunk_size)
    return PrecisionRecallResult(
        precision=float((of_real.num_balls > 0).double().mean()),
        recall=float((of_fake.num_balls > 0).double().mean()),
        density=float(dense.num_balls.double().mean()) / density_neighbours,
        coverage=float(dense.hit.double().mean()),
    )


def _prepared(points: Tensor) -> Tensor:
    """float64, on a device that has it."""
    if not torch.isfinite(points).all():
        raise UserError("the points to compare aren't all finite: has the model diverged?")
    points = points.detach()
    return (points.cpu() if points.device.type == "mps" else points).double()


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(A, D), (B, D) -> (A, B), each to 1e-11 of itself; those of equal points are exactly 0."""
    a_squares, b_squares = a.square().sum(1, keepdim=True), b.square().sum(1)
    squares = torch.addmm(a_squares + b_squares, a, b.T, alpha=-2)
    rows, columns = (squares <= _NEAR * (a_squares + b_squares)).nonzero(as_tuple=True)
    size = max(1, _PAIRS_NUMBERS // a.shape[1])
    for row, column in zip(rows.split(size), columns.split(size), strict=True):
        squares[row, column] = (a[row] - b[column]).square().sum(1)
    return squares


class PrecisionRecall(Metric):
    """``precision_recall`` of points that come in batches and on several ranks.

    Keeps all points: N (D + 1) numbers. Every rank computes all of it.

    Args:
        num_neighbours: k of precision and recall.
        density_neighbours: k of density and coverage.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(self, num_neighbours: int = 3, density_neighbours: int = 5, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_neighbours = num_neighbours
        self.density_neighbours = density_neighbours
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("fake", [], dist_reduce_fx="cat")

    def update(self, points: Tensor, *, real: bool) -> None:
        """Add points, (B, D); every rank must have added some of both kinds, though it be none, (0, D)."""
        if points.dim() != 2:
            raise ValueError(f"expected points (B, D), got {tuple(points.shape)}")
        (self.real if real else self.fake).append(points.detach())

    def compute(self) -> PrecisionRecallResult:
        """Of the points of all ranks; raises as ``precision_recall`` does."""
        real, fake = dim_zero_cat(self.real), dim_zero_cat(self.fake)
        return precision_recall(real, fake, self.num_neighbours, self.density_neighbours)
