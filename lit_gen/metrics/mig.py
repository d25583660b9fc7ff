"""The mutual information gap of a code whose data's factors are known."""

from typing import NamedTuple

import torch
from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.metrics.active_coordinates import active_coordinates


class MutualInformationGap(NamedTuple):
    """How much more of each factor one coordinate of a code knows than any other.

    Attributes:
        mean: the figure, in [0, 1]: the mean of ``gaps`` over the factors that vary; a scalar.
        gaps: (F,), for each factor the difference between the greatest and the second greatest mutual information with
            a coordinate, divided by the factor's entropy; NaN for a factor that doesn't vary.
        information: (Z, F), mutual informations in nats, 0 for coordinates left out.
    """

    mean: Tensor
    gaps: Tensor
    information: Tensor


def mutual_information_gap(
    codes: Tensor, factors: Tensor, num_bins: int = 20, min_variance: float = 0.0
) -> MutualInformationGap:
    """The mutual information gap by histograms.

    Chen et al., Isolating Sources of Disentanglement (2018), Section 4.1, https://arxiv.org/abs/1802.04942. There the
    mutual information is an integral over q(z|x); here it is that of the codes as given, cut into bins, with the
    factor: the estimate of Locatello et al. (2019), https://arxiv.org/abs/1811.12359. Over N examples with B bins and a
    factor of K values it is too high by about (B - 1)(K - 1) / 2N nats, for every coordinate alike.

    Args:
        codes: (N, Z), finite.
        factors: (N, F) int64, values from 0.
        num_bins: bins of equal width between the least and the greatest value of each coordinate.
        min_variance: coordinates that vary less are left out.

    Raises:
        UserError: fewer than two bins, codes that aren't finite, or factors of which none varies.
    """
    if num_bins < 2:
        raise UserError(f"the mutual information gap needs at least 2 bins, got {num_bins}")
    if not torch.isfinite(codes).all():
        raise UserError("the codes to take the mutual information gap of aren't all finite: has the model diverged?")
    active = active_coordinates(codes, min_variance)
    bins = _bins(codes, num_bins)
    information, entropies = [], []
    for factor in factors.T:
        joint = _joint(bins, factor, num_bins)  # (Z, num_bins, K)
        entropies.append(_entropy(joint[0].sum(0)))
        mutual = _entropy(joint.sum(2)) + entropies[-1] - _entropy(joint.flatten(1))
        information.append(torch.where(active, mutual.clamp_min(0.0), 0.0))
    information, entropy = torch.stack(information, 1), torch.stack(entropies)
    if not (entropy > 0).any():
        raise UserError("the mutual information gap needs examples that differ in some factor")
    alone = information.new_zeros(1, information.shape[1])  # a code of one coordinate has no second
    first, second = torch.cat([information, alone]).topk(2, dim=0).values
    gaps = torch.where(entropy > 0, (first - second) / entropy, torch.nan)
    return MutualInformationGap(gaps.nanmean(), gaps, information)


def _bins(codes: Tensor, num_bins: int) -> Tensor:
    """(N, Z) numbers of bins."""
    codes = codes.double()
    low, high = codes.aminmax(dim=0)
    width = torch.where(high > low, (high - low) / num_bins, 1.0)
    return ((codes - low) / width).long().clamp_max(num_bins - 1)


def _joint(bins: Tensor, factor: Tensor, num_bins: int) -> Tensor:
    """(N, Z) bins, (N,) values -> (Z, num_bins, K) shares of the examples, float64."""
    num_values, num_coordinates = int(factor.max()) + 1, bins.shape[1]
    coordinate = torch.arange(num_coordinates, device=bins.device)
    cell = (coordinate * num_bins + bins) * num_values + factor[:, None]
    counts = torch.bincount(cell.flatten(), minlength=num_coordinates * num_bins * num_values)
    return counts.view(num_coordinates, num_bins, num_values).double() / len(bins)


def _entropy(shares: Tensor) -> Tensor:
    """(..., K) shares that sum to 1 -> (...) nats."""
    return -torch.xlogy(shares, shares).sum(-1)
