"""Nearest neighbours by exhaustive search, and what their labels say."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_gen.errors import UserError

DISTANCES = ("euclidean", "cosine")

_SPARE = 8  # candidates beyond the k, which exact differences choose among
_DIFFERENCES = 2**14  # reference points whose differences from a query are held at a time


class Neighbours(NamedTuple):
    """The k nearest reference points of each query, nearest first.

    Attributes:
        index: (Q, k) int64 rows of the reference.
        distance: (Q, k) float64: Euclidean distances, or 1 - cosine of the angle.
    """

    index: Tensor
    distance: Tensor


def nearest_neighbours(
    queries: Tensor,
    reference: Tensor,
    num_neighbours: int,
    distance: str = "euclidean",
    chunk_size: int = 256,
) -> Neighbours:
    """The nearest reference points of each query; of equally near ones those of the lower rows.

    All distances to the reference are computed in float32 by one matrix product a chunk of queries, and those of the k
    and a few more again, by differences in float64, which decide. Where rounding may have left out one of the k, as
    within clusters that lie far apart, as many more are taken as may be. Memory: ``chunk_size`` times R numbers.

    Args:
        queries: (Q, D) finite.
        reference: (R, D) finite, on the same device.
        num_neighbours: k, from 1 to R.
        distance: "euclidean", or "cosine": of the points as seen from the origin; a point that lies there is at a
            right angle to all.
        chunk_size: queries at a time.

    Raises:
        UserError: k is out of range, the distance unknown, or points aren't finite.
    """
    _check(queries, reference, num_neighbours, distance)
    cosine = distance == "cosine"
    if cosine:
        # |q - r|^2 / 2 of unit vectors is 1 - cos, exact for small angles too; a zero has no direction.
        queries, reference = (F.normalize(_wide(points), dim=1) for points in (queries, reference))
    centre = reference.new_zeros(1) if cosine else reference.double().mean(0).to(reference.dtype)
    search = _Search(reference, centre, min(num_neighbours + _SPARE, len(reference)))
    found = []
    for chunk in queries.split(chunk_size):
        found.append(_ordered(chunk, reference, search.candidates(chunk), num_neighbours, cosine))
    return Neighbours(*(torch.cat(part) for part in zip(*found, strict=True)))


class _Search:
    """Finds a few reference points for each query, the nearest for certain among them.

    Args:
        reference: (R, D).
        centre: (D,) or (1,), about which distances are computed: they don't change under a shift, and near the origin
            the expanded square loses least to rounding.
        count: how many.
    """

    def __init__(self, reference: Tensor, centre: Tensor, count: int) -> None:
        self.reference = reference
        self.centre = centre
        self.count = count
        shifted = (reference - centre).float()
        self.squares, self.transposed = shifted.square().sum(1), shifted.T
        # A product of D terms is off by some sqrt(D) eps / 2 of its size, the sum with the squares by eps more.
        self.error = torch.finfo(torch.float32).eps * (2 + reference.shape[1] ** 0.5)

    def candidates(self, queries: Tensor) -> Tensor:
        """(Q, count) rows of the reference, ascending."""
        shifted = (queries - self.centre).float()
        # |q - r|^2 - |q|^2: what doesn't depend on r changes no order.
        scores = torch.addmm(self.squares, shifted, self.transposed, alpha=-2)
        values, columns = scores.topk(self.count, dim=1, largest=False, sorted=True)
        if self.count < scores.shape[1]:
            kth, size = values[:, max(0, self.count - _SPARE - 1)], shifted.square().sum(1)
            # Of the k nearest |r| <= |q| + d_k, and so |q|^2 + |r|^2 <= 3 |q|^2 + 2 d_k^2.
            limit = kth + 2 * self.error * (5 * size + 2 * kth)
            for row in (values[:, -1] <= limit).nonzero().squeeze(1).tolist():
                columns[row] = self._nearest_in_double(queries[row], (scores[row] <= limit[row]).nonzero().squeeze(1))
        return columns.sort(dim=1).values

    def _nearest_in_double(self, query: Tensor, rows: Tensor) -> Tensor:
        """(D,), (M,) rows of the reference, ascending -> the ``count`` nearest, by differences; of equal ones the
        lower."""
        parts = [(_wide(self.reference[part]) - _wide(query)).square().sum(1) for part in rows.split(_DIFFERENCES)]
        return rows[torch.cat(parts).sort(stable=True).indices[: self.count].to(rows.device)]


def _check(queries: Tensor, reference: Tensor, num_neighbours: int, distance: str) -> None:
    if distance not in DISTANCES:
        raise UserError(f"there is no distance {distance!r}: it is one of {', '.join(DISTANCES)}.")
    if not 1 <= num_neighbours <= len(reference):
        raise UserError(
            f"the number of neighbours must be from 1 to the {len(reference)} points there are, got {num_neighbours}."
        )
    for name, points in (("queries", queries), ("reference points", reference)):
        if not torch.isfinite(points).all():
            raise UserError(f"the {name} to find neighbours among aren't all finite: has the model diverged?")


def _wide(points: Tensor) -> Tensor:
    """In float64, on a device that has it."""
    return (points.cpu() if points.device.type == "mps" else points).double()


def _ordered(queries: Tensor, reference: Tensor, candidates: Tensor, count: int, cosine: bool) -> tuple[Tensor, Tensor]:
    """The ``count`` nearest of the candidates (Q, C), which are in ascending order, and their distances."""
    near, queries = _wide(reference[candidates]), _wide(queries)[:, None]
    squares = (near - queries).square().sum(2)
    distance = squares / 2 if cosine else squares.sqrt()
    if cosine:  # a point at the origin has no direction: at a right angle to all
        without = (queries.square().sum(2) == 0) | (near.square().sum(2) == 0)
        distance = torch.where(without, 1.0, distance)
    distance, order = distance.sort(dim=1, stable=True)
    index = candidates.to(distance.device).gather(1, order)
    return index[:, :count].to(candidates.device), distance[:, :count]


def majority(labels: Tensor, num_classes: int) -> Tensor:
    """(Q, k) labels of neighbours -> (Q,) the most frequent one of each row; of equally frequent ones the least.

    Cover & Hart, Nearest neighbor pattern classification (1967), https://doi.org/10.1109/TIT.1967.1053964
    """
    votes = torch.zeros(len(labels), num_classes, dtype=torch.int64, device=labels.device)
    votes.scatter_add_(1, labels, torch.ones_like(labels))
    # argmax may take any of equal ones: more votes, then the lesser label.
    ranks = votes * num_classes - torch.arange(num_classes, device=labels.device)
    return ranks.argmax(1)


def precision(labels: Tensor, wanted: Tensor) -> Tensor:
    """(Q, k) labels of what was retrieved, (Q,) labels of the queries -> (Q,) share of the k that have the query's."""
    return (labels == wanted[:, None]).double().mean(1)
