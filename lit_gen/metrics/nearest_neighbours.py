"""Nearest neighbours by exhaustive search, and what their labels say."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_gen.errors import UserError

DISTANCES = ("euclidean", "cosine")

_SPARE = 8  # candidates beyond the k, which exact differences choose among


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

    All distances to the reference are computed in float32 by one matrix product a chunk of queries; the order among
    the k and a few more is then decided in float64. Memory: ``chunk_size`` times R numbers.

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
        queries, reference = F.normalize(queries.float(), dim=1), F.normalize(reference.float(), dim=1)
        centre, squares = 0.0, reference.new_zeros(len(reference))
    else:
        # Distances don't change under a shift, and near the origin the expanded square loses least to rounding.
        centre = reference.double().mean(0).to(reference.dtype)
        squares = (reference - centre).float().square().sum(1)
    transposed = (reference - centre).float().T
    found = []
    for chunk in queries.split(chunk_size):
        # |q - r|^2 - |q|^2, or -2 cos: what doesn't depend on r changes no order.
        scores = torch.addmm(squares, (chunk - centre).float(), transposed, alpha=-2)
        candidates = _candidates(scores, min(num_neighbours + _SPARE, len(reference)))
        found.append(_ordered(chunk, reference, candidates, num_neighbours, cosine))
    return Neighbours(*(torch.cat(part) for part in zip(*found, strict=True)))


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


def _candidates(scores: Tensor, count: int) -> Tensor:
    """(Q, count) columns of the least scores of each row, ascending; equal scores by column."""
    values, columns = scores.topk(count, dim=1, largest=False, sorted=True)
    # topk takes any of the equal ones at the border: such rows are sorted whole.
    tied = (scores <= values[:, -1:]).sum(1) > count
    if tied.any():
        columns[tied] = scores[tied].sort(dim=1, stable=True).indices[:, :count]
    return columns.sort(dim=1).values


def _ordered(queries: Tensor, reference: Tensor, candidates: Tensor, count: int, cosine: bool) -> tuple[Tensor, Tensor]:
    """The ``count`` nearest of the candidates (Q, C), which are in ascending order, and their distances."""
    exact = torch.device("cpu") if queries.device.type == "mps" else queries.device  # MPS has no float64
    near = reference[candidates].to(exact, torch.float64)
    queries = queries.to(exact, torch.float64)[:, None]
    distance = 1 - (near * queries).sum(2) if cosine else (near - queries).square().sum(2).sqrt()
    distance, order = distance.sort(dim=1, stable=True)
    index = candidates.to(exact).gather(1, order)
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
