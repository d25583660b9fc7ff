"""What a PixelRNN's stepper does at one cell, on buffers that it keeps."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class FirstLayer:
    """The first layer's convolution of the image, which it keeps as far down as the kernel reaches."""

    def __init__(self, network: nn.Module, num: int) -> None:
        conv = network.first
        channels, _, width = network.event_shape
        reach, new = conv.left, conv.weight.new_zeros
        self.bias, self.kernel = conv.bias.detach(), conv.weight_above.detach()
        self.rows = new(num, channels, reach, width + 2 * reach)  # above, in [-1, 1]
        self.row = new(num, reach + width, channels)
        self.from_rows = new(width, num, conv.out_channels)
        weight = conv.weight_of_row.detach().flatten(0, 1)
        self.weights = weight.split(group_sizes(conv.out_channels, channels), 1)
        self.windows = [self.row[:, at : at + reach + 1].view(num, -1) for at in range(width)]
        self.values = [self.row[:, reach + at].split(1, 1) for at in range(width)]
        self.reach, self.width = reach, width

    @property
    def pixels(self) -> Tensor:
        """(N, W, C) the row, in [-1, 1]."""
        return self.row[:, self.reach :]

    def end_row(self) -> None:
        self.rows[:, :, :-1] = self.rows[:, :, 1:].clone()
        self.rows[:, :, -1, self.reach : self.reach + self.width] = self.pixels.transpose(1, 2)

    def start_row(self) -> None:
        self.from_rows.copy_(F.conv2d(self.rows, self.kernel, self.bias).squeeze(2).permute(2, 0, 1))


class Head:
    """The head's layers at one cell."""

    def __init__(self, network: nn.Module, last: Tensor) -> None:
        hidden, params = network.head[1], network.head[3]
        channels = network.event_shape[0]
        self.last = last.split(group_sizes(hidden.in_channels, channels), 1)
        lit, between = torch.zeros_like(last), last.new_zeros(len(last), hidden.out_channels)
        self.lit, self.lit_so_far = parts_by_channel(lit, channels)
        self.between, self.between_so_far = parts_by_channel(between, channels)
        self.hidden = one_by_one(hidden, channels)
        self.params = one_by_one(params, channels)

    def __call__(self, channel: int) -> Tensor:
        """The parameters (N, P) of a channel, those before it having been asked for."""
        torch.clamp_min(self.last[channel], 0, out=self.lit[channel])
        between = self.between[channel]
        weight, bias = self.hidden[channel]
        torch.addmm(bias, self.lit_so_far[channel], weight, out=between).relu_()
        weight, bias = self.params[channel]
        return torch.addmm(bias, self.between_so_far[channel], weight)


def parts_by_channel(x: Tensor, num_groups: int) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """(N, features) -> the features of each group, and those of each with all groups before."""
    sizes = group_sizes(x.shape[1], num_groups)
    return x.split(sizes, 1), [x[:, : sum(sizes[: group + 1])] for group in range(num_groups)]


def one_by_one(conv: nn.Module, num_groups: int) -> list[tuple[Tensor, Tensor]]:
    """For each group the weight (inputs up to its own, outputs) and bias (outputs,) of a masked 1x1 convolution."""
    ends = torch.tensor(group_sizes(conv.in_channels, num_groups)).cumsum(0).tolist()
    sizes = group_sizes(conv.out_channels, num_groups)
    weights, biases = conv.weight_of_row.detach()[-1].split(sizes, 1), conv.bias.detach().split(sizes)
    return [(weight[:end].contiguous(), bias) for end, weight, bias in zip(ends, weights, biases, strict=True)]


def gates_by_channel(hidden: int, num_groups: int) -> list[Tensor]:
    """For each group the numbers, among 4 hidden gates, of its own."""
    features = torch.arange(4 * hidden).view(4, hidden)
    return [part.flatten() for part in features.split(group_sizes(hidden, num_groups), 1)]
