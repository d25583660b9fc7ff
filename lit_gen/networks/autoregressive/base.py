"""What networks of autoregressive models share: cells, and their order."""

from math import prod

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.networks.mlp import as_shape
from lit_gen.ranges import check_at_least


class OrderedNetwork(nn.Module):
    """Base of networks that keep to an order: (B, *event_shape) -> (B, P, *cell_shape), each cell given those before.

    A cell is what is drawn at once. A network that orders the channels of a pixel too has a cell for each value,
    ``cell_shape = event_shape``; one that doesn't has a cell for each pixel, ``cell_shape = (1, H, W)``, and leaves the
    channels to a likelihood that ties them together. With S = prod(cell_shape) cells, a cell has G = prod(event_shape)
    / S values; they are column s of ``x.view(B, G, S)``, and its parameters column s of ``params.view(B, P, S)``.

    A subclass writes the rest of ``protocols.AutoregressiveNetwork``: ``forward``; ``order`` unless it goes by rows;
    and ``stepper``, if it can tell one cell for less than the work of its whole self.

    Args:
        event_shape: shape of one example; pixels (C, H, W) in [0, 1], which the network takes to its own range.
        params_per_output: P, as many as the likelihood needs for a cell.
        by_channel: whether each channel of a pixel is a cell, in the order of channels, or the whole pixel.
        num_classes: number of classes that it is conditioned on; None for none.
        num_orders: number of orders it knows: the members of an ensemble with one set of weights.

    Raises:
        UserError: a count below 1, or examples by pixel that are no images.
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        params_per_output: int = 1,
        by_channel: bool = True,
        num_classes: int | None = None,
        num_orders: int = 1,
    ) -> None:
        super().__init__()
        check_at_least(self, 1, params_per_output=params_per_output, num_classes=num_classes, num_orders=num_orders)
        self.event_shape = as_shape(event_shape)
        if not by_channel and len(self.event_shape) != 3:
            called = type(self).__name__
            raise UserError(f"a {called} goes by pixels of images (C, H, W), not of examples {self.event_shape}")
        self.cell_shape = self.event_shape if by_channel else (1, *self.event_shape[1:])
        self.params_per_output = params_per_output
        self.num_classes = num_classes
        self.num_orders = num_orders

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.event_shape

    @property
    def num_cells(self) -> int:
        """S."""
        return prod(self.cell_shape)

    @property
    def values_per_cell(self) -> int:
        """G."""
        return prod(self.event_shape) // self.num_cells

    def order(self, number: int = 0) -> Tensor:
        """(S,) the cells in the order in which they are told, a permutation.

        Of images by rows from the top, from left to right, and of each pixel channel by channel; of other examples as
        they come.
        """
        cells = torch.arange(self.num_cells)
        if len(self.cell_shape) != 3:
            return cells
        return cells.view(self.cell_shape).permute(1, 2, 0).flatten()

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, *event_shape), class indices (B,) -> (B, P, *cell_shape) under the order of that number."""
        raise NotImplementedError


def check_sizes(network: OrderedNetwork, kernels: dict[str, int], **counts: int | None) -> None:
    """Refuse examples that are no images, kernels that see no pixel but their own, and counts below 1.

    Raises:
        UserError: there are some.
    """
    called = type(network).__name__
    if len(network.event_shape) != 3:
        raise UserError(f"a {called} is for images (C, H, W), not for examples {network.event_shape}")
    for name, value in kernels.items():
        if value < 3 or value % 2 == 0:
            raise UserError(f"a {called}'s {name} is an odd number from 3, not {value}")
    check_at_least(network, 1, **counts)
