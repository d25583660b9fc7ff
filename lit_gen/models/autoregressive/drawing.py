"""Drawing an example cell by cell."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_gen.errors import UserError
from lit_gen.protocols import AutoregressiveNetwork, Stepper, Steps


class NaiveStepper:
    """The reference stepper: computes the whole network for every cell on what is known so far.

    Args:
        network: in evaluation mode.
        num: number of examples.
        label: (num,) class indices, where the network is conditioned on them.
        order: number of the order.
    """

    def __init__(self, network: AutoregressiveNetwork, num: int, label: Tensor | None = None, order: int = 0) -> None:
        self.network = network
        self.label = label
        self.number = order
        self.order = network.order(order).tolist()
        self.x = next(network.parameters()).new_zeros(num, *network.event_shape)
        self.done = 0

    def __call__(self, previous: Tensor | None) -> Tensor:
        """The values (N, G) of the cell before -> the parameters (N, P) of the next."""
        if previous is not None:
            cells = self.x.view(*previous.shape, len(self.order))
            cells[:, :, self.order[self.done - 1]] = previous
        params = self.network(self.x, self.label, self.number).flatten(2)[:, :, self.order[self.done]]
        self.done += 1
        return params


def stepper_of(
    network: AutoregressiveNetwork, num: int, label: Tensor | None = None, order: int = 0, naive: bool = False
) -> Stepper:
    """The network's own stepper, or the reference where that is asked for or the network has none."""
    if naive or not isinstance(network, Steps):
        return NaiveStepper(network, num, label, order)
    return network.stepper(num, label, order)


@torch.no_grad()
def draw_cells(
    network: AutoregressiveNetwork,
    distribution: Callable[[Tensor], Distribution],
    num: int,
    label: Tensor | None = None,
    known: Tensor | None = None,
    num_known: int = 0,
    naive: bool = False,
) -> Tensor:
    """Draw examples, each cell given those before it, all examples at once.

    Of a network with several orders one is drawn for all.

    Args:
        network: in evaluation mode.
        distribution: makes p(x_s | x_<s) of the network's output (B, P, 1, 1) for one cell: batch (B,), G values.
        num: number of examples.
        label: (num,) class indices, where the network is conditioned on them.
        known: (num, *event_shape), of which the first ``num_known`` cells of the order are kept.
        num_known: number of cells that aren't drawn.
        naive: whether the whole network is computed for every cell.

    Returns:
        (num, *event_shape).
    """
    number = int(torch.randint(network.num_orders, ())) if network.num_orders > 1 else 0
    order = network.order(number).tolist()
    x = next(network.parameters()).new_zeros(num, *network.event_shape)
    cells = x.view(num, -1, len(order))
    if known is not None:
        x.copy_(known)
    stepper = stepper_of(network, num, label, number, naive)
    previous = None
    for done, cell in enumerate(order):
        params = stepper(previous)
        if done >= num_known:
            cells[:, :, cell] = distribution(params[:, :, None, None]).sample().flatten(1).to(x)
        previous = cells[:, :, cell]
    return x


def num_cells_of_rows(network: AutoregressiveNetwork, num_rows: int) -> int:
    """Number of cells in the first rows of an image.

    Raises:
        UserError: the network tells others before them, or has several orders, each of which would have to be
            weighed by how likely it finds the first rows.
    """
    if network.num_orders > 1:
        raise UserError(
            f"this {type(network).__name__} has {network.num_orders} orders or masks: the rest of an image given "
            "its first rows is drawn by a network with one"
        )
    channels, height, width = network.cell_shape
    count = channels * num_rows * width
    if (network.order()[:count] // width % height >= num_rows).any():
        raise UserError(
            f"this {type(network).__name__} doesn't tell its cells row by row: the rest of an image can't be drawn "
            "given its first rows"
        )
    return count
