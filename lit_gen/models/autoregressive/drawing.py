"""Drawing an example cell by cell."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from lit_gen.errors import UserError
from lit_gen.protocols import AutoregressiveNetwork, HasStepper, Stepper


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
    if naive or not isinstance(network, HasStepper):
        return NaiveStepper(network, num, label, order)
    return network.stepper(num, label, order)


Head = Callable[[Tensor], Distribution]
"""Makes p(x_s | x_<s) of a network's output."""


@torch.no_grad()
def draw_cells(
    network: AutoregressiveNetwork,
    distribution: Head,
    num: int,
    label: Tensor | None = None,
    known: Tensor | None = None,
    num_known: int = 0,
    naive: bool = False,
) -> Tensor:
    """Draw examples, each cell given those before it, all examples of one order at once.

    Of a network with several orders each example has one of its own, as a draw from their mixture has.

    Args:
        network: in evaluation mode.
        distribution: of the network's output (B, P, 1, 1) for one cell: batch (B,), G values.
        num: number of examples.
        label: (num,) class indices, where the network is conditioned on them.
        known: (num, *event_shape), of which the first ``num_known`` cells of the order are kept.
        num_known: number of cells that aren't drawn; they are the same cells in every order.
        naive: whether the whole network is computed for every cell.

    Returns:
        (num, *event_shape).
    """
    x = next(network.parameters()).new_zeros(num, *network.event_shape)
    if known is not None:
        x.copy_(known)
    if network.num_orders == 1:
        return _draw_in_order(stepper_of(network, num, label, 0, naive), network.order(), distribution, x, num_known)
    numbers = _draw_orders(network, distribution, x, label, num_known)
    for number in numbers.unique().tolist():
        rows = (numbers == number).nonzero().squeeze(1)
        stepper = stepper_of(network, len(rows), None if label is None else label[rows], number, naive)
        x[rows] = _draw_in_order(stepper, network.order(number), distribution, x[rows], num_known)
    return x


def _draw_in_order(stepper: Stepper, order: Tensor, distribution: Head, x: Tensor, num_known: int) -> Tensor:
    """``x``, (N, *event_shape), with all cells but the first ``num_known`` of the order drawn, in place."""
    cells = x.view(len(x), -1, len(order))
    previous = None
    for done, cell in enumerate(order.tolist()):
        params = stepper(previous)
        if done >= num_known:
            cells[:, :, cell] = distribution(params[:, :, None, None]).sample().flatten(1).to(x)
        previous = cells[:, :, cell]
    return x


def _draw_orders(
    network: AutoregressiveNetwork, distribution: Head, x: Tensor, label: Tensor | None, num_known: int
) -> Tensor:
    """(N,) numbers of orders, each as likely as it finds what is known of its example (N, *event_shape).

    A mixture of p_o in equal shares has p(rest | known) = sum_o w_o p_o(rest | known) with w_o proportional to
    p_o(known): Bayes' rule for the order.
    """
    if num_known == 0:
        return torch.randint(network.num_orders, (len(x),), device=x.device)
    log_p = [_log_prob_of_known(network, distribution, x, label, num_known, k) for k in range(network.num_orders)]
    return torch.stack(log_p, 1).softmax(1).multinomial(1).squeeze(1)


def _log_prob_of_known(
    network: AutoregressiveNetwork, distribution: Head, x: Tensor, label: Tensor | None, num_known: int, number: int
) -> Tensor:
    """(N,) values of log p_o of the first ``num_known`` cells of the order o; what stands in the others is not read."""
    cells = network.order(number)[:num_known].to(x.device)
    params, values = (
        part.reshape(len(x), -1, network.order(number).numel())[:, :, cells].transpose(1, 2).flatten(0, 1)
        for part in (network(x, label, number), x)
    )  # (N * K, P), (N * K, G)
    p = distribution(params[:, :, None, None])
    return p.log_prob(values.view(-1, *p.event_shape)).view(len(x), -1).sum(1)


def num_cells_of_rows(network: AutoregressiveNetwork, num_rows: int) -> int:
    """Number of cells in the first rows of an image.

    Raises:
        UserError: the network tells others before them, in one of its orders or in all: what it gives to the rest
            could not be drawn cell by cell.
    """
    channels, height, width = network.cell_shape
    count = channels * num_rows * width
    orders = [network.order(number) for number in range(network.num_orders)]
    if any((order[:count] // width % height >= num_rows).any() for order in orders):
        which = "all of its orders" if len(orders) > 1 else "its order"
        raise UserError(
            f"this {type(network).__name__} doesn't tell its cells row by row in {which}: the rest of an image can't "
            "be drawn given its first rows"
        )
    return count
