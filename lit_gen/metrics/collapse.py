"""Signs of a collapsed generator in two sets of points: repeated samples, and data that no sample is near."""

import torch
from torch import Tensor

from lit_gen.metrics.precision_recall import neighbour_radii

_MOST_ROUNDS = 50


def relative_diversity(real: Tensor, fake: Tensor) -> float:
    """How far samples are from their nearest fellows, as a multiple of how far real examples are from theirs.

    The ratio of the medians of the distances to the nearest other point of the same set: about 1 for as many draws of
    the data's distribution as there are real examples, near 0 where samples repeat each other. NaN where most real
    examples have an equal.

    Args:
        real: (N, D) finite, at least two.
        fake: (M, D) finite, at least two; M = N for a fair comparison.
    """
    medians = [float(neighbour_radii(points.flatten(1), 1).median()) for points in (fake, real)]
    return medians[0] / medians[1] if medians[1] > 0 else float("nan")


class Cells:
    """Real examples divided into cells by k-means: what samples are counted in.

    Richardson & Weiss, On GANs and GMMs (2018), Section 3.1, https://arxiv.org/abs/1805.12462, compare the shares of
    real and generated examples in such bins. Lloyd's iterations from examples spaced evenly over the given ones, so
    that the same examples give the same cells.

    Args:
        real: (N, D) finite.
        num_cells: K, at most N.

    Attributes:
        share: (K,) float64, the share of the real examples in each cell.
    """

    def __init__(self, real: Tensor, num_cells: int) -> None:
        # Distances don't change under a shift, and about the mean their expanded squares lose least to rounding.
        self._shift = real.flatten(1).float().mean(0)
        shifted = self._shifted(real)
        self._centres = shifted[torch.arange(num_cells, device=real.device) * len(real) // num_cells].clone()
        cell = self.of(real)
        for _ in range(_MOST_ROUNDS):
            count = torch.bincount(cell, minlength=num_cells)
            sums = torch.zeros_like(self._centres).index_add_(0, cell, shifted)
            # An empty cell's centre stays where it is.
            self._centres = torch.where(count[:, None] > 0, sums / count.clamp_min(1)[:, None], self._centres)
            before, cell = cell, self.of(real)
            if torch.equal(cell, before):
                break
        self.share = self.shares(real)

    @property
    def centres(self) -> Tensor:
        """(K, D)."""
        return self._centres + self._shift

    def _shifted(self, x: Tensor) -> Tensor:
        return x.flatten(1).float() - self._shift

    def of(self, x: Tensor) -> Tensor:
        """(B, D) -> (B,) the number of the cell whose centre is nearest."""
        return torch.cdist(self._shifted(x), self._centres).argmin(1)

    def shares(self, x: Tensor) -> Tensor:
        """(B, D) -> (K,) the shares of ``x`` in the cells."""
        # On the CPU: MPS has no float64.
        return torch.bincount(self.of(x), minlength=len(self.centres)).cpu().double() / len(x)

    def left_out(self, fake: Tensor, least: float = 0.1) -> float:
        """Share of the real examples that lie in cells with less than ``least`` times as many samples as is fair."""
        empty = self.shares(fake) < least * self.share
        return float(self.share[empty].sum())
