"""Images by a small one first, and the rest given that.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Section 3.6,
https://arxiv.org/abs/1601.06759
"""

import itertools

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.protocols import HasStepper, Stepper
from lit_gen.ranges import check_at_least


class MultiScale(OrderedNetwork):
    """p(x) = p(x_small) p(x | x_small), where x_small is made of every s-th row and column of x.

    The cells of the small image come first, in its network's order, then the others by rows. The small image is read
    by a few convolutions and a transposed one into a map of the size of x, on which the large network is conditioned:
    it sees that, and the cells before in its own order, of which those of the small image are known already. What it
    tells of these is left aside, so that p is a density of x.

    How far a cell sees in the small image is up to ``num_convolutions``; each sees 2 cells further in all directions.

    Args:
        small: network of the images (C, ceil(H / s), ceil(W / s)); it may be a ``MultiScale`` itself.
        large: network of the images (C, H, W), by rows, with ``condition_features``: ``RowLSTM`` or ``DiagonalBiLSTM``.
        num_convolutions: how many convolutions read the small image, 5x5 each.

    Raises:
        UserError: a large network that takes no condition, or networks that don't fit each other.
    """

    def __init__(self, small: OrderedNetwork, large: OrderedNetwork, num_convolutions: int = 2) -> None:
        features = getattr(large, "condition_features", None)
        if features is None:
            raise UserError(
                "a MultiScale's large network is told the small image: take a RowLSTM or DiagonalBiLSTM with "
                "condition_features"
            )
        check_at_least(self, 1, num_convolutions=num_convolutions)
        by_channel = large.cell_shape == large.event_shape
        super().__init__(large.event_shape, large.params_per_output, by_channel, large.num_classes)
        self.scale = _scale(small, large)
        self.small, self.large = small, large
        widths = [self.event_shape[0], *[features] * num_convolutions]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 5, padding=2), nn.ReLU()]
        self.upsample = nn.Sequential(*layers, nn.ConvTranspose2d(features, features, self.scale, self.scale))

    def order(self, number: int = 0) -> Tensor:
        """(S,) the cells of the small image, then the others by rows."""
        cells = torch.arange(self.num_cells).view(self.cell_shape)
        first = self._subsampled(cells).flatten()[self.small.order()]
        rest = super().order()
        return torch.cat([first, rest[~torch.isin(rest, first)]])

    def _subsampled(self, x: Tensor) -> Tensor:
        """(..., H, W) -> the small image."""
        return x[..., :: self.scale, :: self.scale]

    def condition(self, small: Tensor) -> Tensor:
        """The small image (B, C, h, w) in [0, 1] -> what the large network is told, (B, features, H, W)."""
        _, height, width = self.event_shape
        return self.upsample(2 * small - 1)[:, :, :height, :width]

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, C, H, W), class indices (B,) -> (B, P, *cell_shape)."""
        small = self._subsampled(x)
        params = self.large(x, label, condition=self.condition(small)).clone()
        self._subsampled(params).copy_(self.small(small, label))
        return params

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps what the small network's stepper does, then what the large one's does; and the image."""
        return _MultiScaleStepper(self, num, label)


def _scale(small: OrderedNetwork, large: OrderedNetwork) -> int:
    """How many times smaller the small network's images are.

    Raises:
        UserError: no number of times, or networks that differ in what they tell of an image.
    """
    (channels, *size), (small_channels, *small_size) = large.event_shape, small.event_shape
    for scale in range(2, max(2, *size) + 1):
        if channels == small_channels and [-(-side // scale) for side in size] == small_size:
            break
    else:
        raise UserError(
            f"a MultiScale's small network must be of every s-th row and column of images {large.event_shape}, "
            f"s at least 2, which images {small.event_shape} are not"
        )
    facts = [(x.params_per_output, x.cell_shape[0], x.num_classes) for x in (small, large)]
    if facts[0] != facts[1]:
        raise UserError(
            "a MultiScale's networks must have the same params_per_output, cells and num_classes; the small one has "
            f"{facts[0]}, the large one {facts[1]}"
        )
    return scale


class _MultiScaleStepper:
    """Steps through the small image, then through all cells by rows, of which it gives those that aren't known."""

    def __init__(self, network: MultiScale, num: int, label: Tensor | None) -> None:
        self.network, self.num, self.label = network, num, label
        self.order = network.order().tolist()
        self.rows = iter(OrderedNetwork.order(network).tolist())
        self.x = next(network.parameters()).new_zeros(num, *network.event_shape)
        self.cells = self.x.view(num, network.values_per_cell, -1)
        self.last_by_rows = None
        self.stepper = self._stepper(network.small, {})
        self.done = 0

    def _stepper(self, network: OrderedNetwork, given: dict[str, Tensor]) -> Stepper:
        if isinstance(network, HasStepper):
            return network.stepper(self.num, self.label, **given)
        raise UserError(
            f"a {type(network).__name__} has no stepper, which a MultiScale's networks need to be drawn from"
        )

    @torch.no_grad()
    def _start_large(self) -> None:
        network = self.network
        condition = network.condition(network._subsampled(self.x))
        self.stepper = self._stepper(network.large, {"condition": condition})

    def __call__(self, previous: Tensor | None) -> Tensor:
        """The values (N, G) of the cell before -> the parameters (N, P) of the next."""
        if previous is not None:
            self.cells[:, :, self.order[self.done - 1]] = previous
        cell = self.order[self.done]
        if self.done < self.network.small.num_cells:
            params = self.stepper(previous)
        else:
            if self.done == self.network.small.num_cells:
                self._start_large()
            params = self._large_until(cell)
        self.done += 1
        return params

    def _large_until(self, cell: int) -> Tensor:
        """The parameters of a cell, going by rows through those that are known."""
        for by_rows in self.rows:
            params = self.stepper(None if self.last_by_rows is None else self.cells[:, :, self.last_by_rows])
            self.last_by_rows = by_rows
            if by_rows == cell:
                return params
        raise RuntimeError("the order holds a cell twice")
