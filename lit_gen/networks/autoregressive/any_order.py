"""What networks share whose layers suit any order of the cells."""

import torch
from torch import Tensor

from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.randomness import make_generator


class AnyOrderNetwork(OrderedNetwork):
    """Base of networks that keep to the natural order, or to any that are drawn at random: one set of weights for all.

    The orders are saved with the weights, so that a checkpoint keeps those that it was trained on.

    Args:
        event_shape: shape of one example.
        params_per_output: P.
        num_classes: number of classes that it is conditioned on; None for none.
        num_orders: number of orders.
        random_order: whether orders are permutations drawn at random rather than the natural order, by rows.
        seed: names what is drawn.
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        params_per_output: int = 1,
        num_classes: int | None = None,
        num_orders: int = 1,
        random_order: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(event_shape, params_per_output, num_classes=num_classes, num_orders=num_orders)
        self.seed = seed
        natural = super().order()
        orders = [
            natural[torch.randperm(len(natural), generator=make_generator("order", seed, number))]
            if random_order
            else natural
            for number in range(num_orders)
        ]
        self.register_buffer("orders", torch.stack(orders))  # (num_orders, S)

    def order(self, number: int = 0) -> Tensor:
        """(S,) the cells in the order in which they are told, a permutation."""
        return self.orders[number].cpu()
