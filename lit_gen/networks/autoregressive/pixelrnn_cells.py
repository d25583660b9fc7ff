"""What a PixelRNN's stepper does at one cell, on buffers that it keeps."""

from typing import NamedTuple

import torch
from torch import Tensor

from lit_gen.networks.layers.masked_conv import group_sizes


class LayerStep(NamedTuple):
    """One layer at one cell: views of what the stepper keeps, on which ``run`` works in place.

    N examples, g features of the cell's channel in a state, e up to it, k those of the window. Gates lie as g, i, f, o.

    Attributes:
        window: (N, k), what the layer sees of its input, and in the Diagonal BiLSTM the state beside.
        weight: (k, 4 g), from the window to the gates.
        from_rows: (N, 4 g), what finished rows and biases add to the gates.
        gates: (N, 4 g), scratch.
        scratch: (N, g).
        cell: (N, g), the cell state before, and after it that of this cell.
        state: (N, g), where the state is put.
        states: (N, e), the state of this channel and those before.
        output_weight: (e, 2 g).
        output_from_rows: (N or 1, 2 g), what finished rows and the bias add to the output.
        output: (N, 2 g), scratch.
        below: (N, 2 g), the layer's input.
        above: (N, 2 g), where the layer's output is put.
    """

    window: Tensor
    weight: Tensor
    from_rows: Tensor
    gates: "Gates"
    scratch: Tensor
    cell: Tensor
    state: Tensor
    states: Tensor
    output_weight: Tensor
    output_from_rows: Tensor
    output: Tensor
    below: Tensor
    above: Tensor

    def run(self) -> None:
        gates = self.gates
        torch.addmm(self.from_rows, self.window, self.weight, out=gates.all)
        gates.lstm(self.cell, self.scratch, self.state)
        torch.addmm(self.output_from_rows, self.states, self.output_weight, out=self.output)
        torch.add(self.below, self.output, out=self.above)


class Gates(NamedTuple):
    """A buffer for gates (..., 4 g) and its parts."""

    all: Tensor
    switches: Tensor
    candidate: Tensor
    enter: Tensor
    forget: Tensor
    leave: Tensor

    @classmethod
    def of(cls, gates: Tensor) -> "Gates":
        candidate, enter, forget, leave = gates.chunk(4, -1)
        return cls(gates, gates[..., candidate.shape[-1] :], candidate, enter, forget, leave)

    def lstm(self, cell: Tensor, scratch: Tensor, state: Tensor) -> None:
        """Eq. 3 in place: the cell state is moved on, the state put where asked."""
        self.switches.sigmoid_()
        self.candidate.tanh_()
        cell.mul_(self.forget).addcmul_(self.enter, self.candidate)
        torch.tanh(cell, out=scratch)
        torch.mul(self.leave, scratch, out=state)


def parts_by_channel(x: Tensor, num_groups: int) -> tuple[Tensor, ...]:
    """(N, features) -> the features of each group."""
    return x.split(group_sizes(x.shape[1], num_groups), 1)


def gates_by_channel(hidden: int, num_groups: int) -> list[Tensor]:
    """For each group the numbers, among 4 hidden gates, of its own."""
    features = torch.arange(4 * hidden).view(4, hidden)
    return [part.flatten() for part in features.split(group_sizes(hidden, num_groups), 1)]
