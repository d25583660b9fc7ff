"""The neural autoregressive distribution estimator."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.any_order import AnyOrderNetwork
from lit_gen.protocols import Stepper
from lit_gen.ranges import check_at_least

CHUNK_CELLS = 16
"""Cells whose hidden units are computed at once. The running sum within a chunk is a matrix product, which does as many
times the work of a sum in no more time."""

KEPT_VALUES = 2**27
"""Hidden units of a batch that are kept for the gradient; of more, the gradient computes them again chunk by chunk."""


class NADE(AnyOrderNetwork):
    """Each cell by a network of one hidden layer; all of them share its weights.

    With the cells in their order, h_s = activation(c + sum_{j < s} W_j x_j) and params_s = b_s + V_s h_s: what goes
    into the hidden layer is a running sum, so all S cells cost O(S H), as much as a single network over all of them.
    Mixed precision doesn't touch it: all is computed in the precision of the weights.

    Larochelle & Murray, The Neural Autoregressive Distribution Estimator (2011), Algorithm 1,
    https://proceedings.mlr.press/v15/larochelle11a.html; Uria, Côté, Gregor, Murray & Larochelle, Neural
    Autoregressive Distribution Estimation (2016), Section 2, https://arxiv.org/abs/1605.02226; several orders with one
    set of weights: Uria, Murray & Larochelle, A Deep and Tractable Density Estimator (2014),
    https://arxiv.org/abs/1310.1757

    Args:
        event_shape: shape of one example.
        num_hidden: H.
        params_per_output: P.
        num_classes: number of classes that it is conditioned on, each with biases of its own; None for none.
        num_orders: number of orders, in turn in training and averaged in evaluation.
        random_order: whether orders are drawn at random, or the natural one.
        activation: makes the hidden units' activation; it must be elementwise.
        seed: names what is drawn of orders.

    Raises:
        UserError: no hidden units, or several orders that are all the natural one.
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        num_hidden: int,
        params_per_output: int = 1,
        num_classes: int | None = None,
        num_orders: int = 1,
        random_order: bool = False,
        activation: Callable[[], nn.Module] = nn.Sigmoid,
        seed: int = 0,
    ) -> None:
        super().__init__(event_shape, params_per_output, num_classes, num_orders, random_order, seed)
        check_at_least(self, 1, num_hidden=num_hidden)
        if num_orders > 1 and not random_order:
            raise UserError(f"{num_orders} natural orders of a NADE are {num_orders} times one: set random_order: true")
        cells, classes = self.num_cells, num_classes or 1
        self.hidden_weight = nn.Parameter(torch.empty(cells, num_hidden).uniform_(-1, 1) * cells**-0.5)  # W
        self.hidden_bias = nn.Parameter(torch.zeros(classes, num_hidden))  # c
        self.output_weight = nn.Parameter(  # V
            torch.empty(cells, num_hidden, params_per_output).uniform_(-1, 1) * num_hidden**-0.5
        )
        self.output_bias = nn.Parameter(torch.zeros(cells, classes, params_per_output))  # b
        self.activation = activation()

    def _biases(self, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """c (1, H) and b (S, 1, P), or for classes (B,) theirs: (B, H) and (S, B, P)."""
        if label is None:
            return self.hidden_bias, self.output_bias
        return self.hidden_bias[label], self.output_bias[:, label]

    def _in_order(self, cells: Tensor, output_bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """W, V and b of those cells."""
        return tuple(of_cells[cells] for of_cells in (self.hidden_weight, self.output_weight, output_bias))

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, *event_shape), class indices (B,) -> (B, P, *event_shape) under the order of that number."""
        # A running sum over hundreds of cells in half precision would cost tenths of a nat.
        with torch.autocast(x.device.type, enabled=False):
            params = self._params(x.flatten(1).to(self.hidden_weight.dtype), label, order)  # (B, P, S)
        return params.view(len(x), -1, *self.event_shape)

    def _params(self, x: Tensor, label: Tensor | None, order: int) -> Tensor:
        """(B, S), class indices (B,) -> (B, P, S) under the order of that number."""
        cells, (total, output_bias) = self.orders[order], self._biases(label)
        known = x.T[cells]  # (S, B)
        chunk_params = self._chunk
        if torch.is_grad_enabled() and known.numel() * total.shape[1] > KEPT_VALUES:
            chunk_params = partial(checkpoint, self._chunk, use_reentrant=False, preserve_rng_state=False)
        chunks = [of_cells.split(CHUNK_CELLS) for of_cells in (known, *self._in_order(cells, output_bias))]
        params = []
        for values, into, out_of, bias in zip(*chunks, strict=True):
            params.append(chunk_params(values, total, into, out_of, bias))
            total = torch.addmm(total, values.T, into)
        return torch.cat(params)[cells.argsort()].permute(1, 2, 0)

    def _chunk(self, values: Tensor, total: Tensor, into: Tensor, out_of: Tensor, bias: Tensor) -> Tensor:
        """The parameters of K cells, (K, B, P).

        Args:
            values: (K, B), of the cells.
            total: (B, H) or (1, H), what all cells before the chunk put into the hidden layer.
            into: (K, H), W.
            out_of: (K, H, P), V.
            bias: (K, B, P) or (K, 1, P), b.
        """
        before = values.new_ones(len(values), len(values)).tril(-1)  # (of a cell, from a cell)
        seen = before.unsqueeze(1) * values.T  # (K, B, K)
        hidden = self.activation((seen.flatten(0, 1) @ into).view(*values.shape, -1) + total)
        return torch.baddbmm(bias, hidden, out_of)

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps the running sum that goes into the hidden layer."""
        return _RunningSum(self, num, label, order)


class _RunningSum:
    def __init__(self, network: NADE, num: int, label: Tensor | None, order: int) -> None:
        cells, (total, bias) = network.orders[order], network._biases(label)
        self.activation = network.activation
        self.total = total.detach().expand(num, -1).clone()
        self.into, self.out_of, self.bias = (part.detach().unbind() for part in network._in_order(cells, bias))
        self.done = 0

    def __call__(self, previous: Tensor | None) -> Tensor:
        if previous is not None:
            self.total.addcmul_(previous, self.into[self.done - 1])
        params = torch.addmm(self.bias[self.done], self.activation(self.total), self.out_of[self.done])
        self.done += 1
        return params
