"""The fully visible belief network."""

import torch
from torch import Tensor, nn

from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.protocols import Stepper


class FullyVisibleBeliefNetwork(OrderedNetwork):
    """Each value by a (multinomial) logistic regression on those before it: params_i = b_i + sum_{j < i} W_ij x_j.

    Neal, Connectionist Learning of Belief Networks (1992), Section 3, https://doi.org/10.1016/0004-3702(92)90065-6;
    Frey, Graphical Models for Machine Learning and Digital Communication (1998).

    Args:
        event_shape: shape of one example.
        params_per_output: P.
        num_classes: number of classes that it is conditioned on, each with biases b of its own; None for none.
    """

    def __init__(
        self, event_shape: int | tuple[int, ...], params_per_output: int = 1, num_classes: int | None = None
    ) -> None:
        super().__init__(event_shape, params_per_output, num_classes=num_classes)
        self.weight = nn.Parameter(torch.zeros(params_per_output, self.num_cells, self.num_cells))  # (P, to, from)
        self.bias = nn.Parameter(torch.zeros(num_classes or 1, params_per_output, self.num_cells))
        place = torch.empty(self.num_cells, dtype=torch.long)
        place[self.order()] = torch.arange(self.num_cells)
        self.register_buffer("mask", place.unsqueeze(1) > place, persistent=False)

    def _bias(self, num: int, label: Tensor | None) -> Tensor:
        return self.bias.expand(num, -1, -1) if label is None else self.bias[label]

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, *event_shape), class indices (B,) -> (B, P, *event_shape)."""
        seen = x.flatten(1) @ (self.weight * self.mask).flatten(0, 1).T  # (B, P * S)
        params = self._bias(len(x), label) + seen.view(len(x), self.params_per_output, -1)
        return params.view(len(x), -1, *self.event_shape)

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps the parameters of all cells as far as they are known."""
        return _Sums(self, num, label)


class _Sums:
    def __init__(self, network: FullyVisibleBeliefNetwork, num: int, label: Tensor | None) -> None:
        self.weight = (network.weight * network.mask).detach()
        self.params = network._bias(num, label).detach().clone()
        self.order = network.order().tolist()
        self.done = 0

    def __call__(self, previous: Tensor | None) -> Tensor:
        if previous is not None:
            self.params += previous.unsqueeze(2) * self.weight[:, :, self.order[self.done - 1]]
        params = self.params[:, :, self.order[self.done]]
        self.done += 1
        return params
