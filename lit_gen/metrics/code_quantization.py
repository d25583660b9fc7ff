"""Codes rounded to a number of bits: where the levels lie, and which one a code is nearest to."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_gen.errors import UserError

MOST_BITS = 16


def check_bits(bits: int) -> int:
    """``bits`` if codes can be rounded to so many.

    Raises:
        UserError: outside 1 to 16.
    """
    if not 1 <= bits <= MOST_BITS:
        raise UserError(f"Codes are rounded to 1 to {MOST_BITS} bits a number, not {bits}.")
    return bits


@dataclass(frozen=True)
class UniformQuantizer:
    """2^bits cells of equal width between ``low`` and ``high``, a code standing for the middle of its cell.

    A code within the range is off by at most half a cell, (high - low) / 2^(bits + 1); one beyond it takes the
    outermost cell.

    Attributes:
        low: (Z,) lower end of each coordinate's range.
        high: (Z,) upper end.
        bits: bits a number, 1 to 16.
    """

    low: Tensor
    high: Tensor
    bits: int

    def __post_init__(self) -> None:
        check_bits(self.bits)

    @property
    def cell(self) -> Tensor:
        """(Z,) width of a cell; a coordinate that never varied has one cell of width 1."""
        width = (self.high - self.low) / 2**self.bits
        return torch.where(width > 0, width, torch.ones_like(width))

    def indices(self, z: Tensor) -> Tensor:
        """(N, Z) codes -> (N, Z) int64 numbers of cells, 0 to 2^bits - 1."""
        return ((z - self.low) / self.cell).floor().clamp(0, 2**self.bits - 1).long()

    def values(self, indices: Tensor) -> Tensor:
        """(N, Z) numbers of cells -> (N, Z) codes."""
        return torch.where(self.high > self.low, self.low + (indices + 0.5) * self.cell, self.low)


class CodeRange(Metric):
    """The least and the greatest value that each coordinate of a code takes, over all batches and ranks.

    Args:
        num_coordinates: Z.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(self, num_coordinates: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.add_state("low", torch.full((num_coordinates,), torch.inf), dist_reduce_fx="min")
        self.add_state("high", torch.full((num_coordinates,), -torch.inf), dist_reduce_fx="max")

    def update(self, z: Tensor) -> None:
        """Add codes, (B, Z)."""
        self.low = torch.minimum(self.low, z.detach().amin(0))
        self.high = torch.maximum(self.high, z.detach().amax(0))

    def compute(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest values, (Z,) each, but of one coordinate (): see ``ends``."""
        return self.low, self.high

    def ends(self) -> tuple[Tensor, Tensor]:
        """(Z,) least and (Z,) greatest values; of one coordinate too, of which torchmetrics makes scalars."""
        low, high = self.compute()
        return low.view(-1), high.view(-1)
