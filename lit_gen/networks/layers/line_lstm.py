"""LSTMs that go through a map line by line."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LineStates(NamedTuple):
    """What an LSTM keeps of one line of N cells.

    Attributes:
        state: (D, B, N, h), h.
        cell: (D, B, N, h), c.
    """

    state: Tensor
    cell: Tensor


class LineLSTM(nn.Module):
    """LSTMs over the lines of a map: all cells of a line at once, each from its neighbours in the line before.

    With gates i, f, o and the candidate g, cell states c and states h, and * a convolution along the line:
    (i, f, o, g) = (s, s, s, tanh)(from input + weight * h_before), c = f c_before + i g, h = o tanh(c). The states
    before the first line and beyond the ends of one are zero.

    van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Eq. 3,
    https://arxiv.org/abs/1601.06759

    Args:
        hidden: h, features of a state.
        before: how many neighbours before its own place a cell looks at.
        after: how many behind it.
        num_directions: D, how many LSTMs go side by side, each with weights of its own.

    Attributes:
        weight: (D, before + 1 + after, h, 4 h), what a neighbour's state adds to the gates.
    """

    def __init__(self, hidden: int, before: int, after: int, num_directions: int = 1) -> None:
        super().__init__()
        self.hidden, self.before, self.after = hidden, before, after
        reach = before + 1 + after
        self.weight = nn.Parameter(torch.empty(num_directions, reach, hidden, 4 * hidden))
        bound = (reach * hidden) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, from_input: Tensor) -> Tensor:
        """What the input adds to the gates, (T, D, B, N, 4 h) of T lines of N cells -> states (T, D, B, N, h)."""
        zeros = from_input.new_zeros(*from_input.shape[1:-1], self.hidden)
        last = LineStates(zeros, zeros)
        states = []
        for of_line in from_input:
            last = self.line(of_line, last)
            states.append(last.state)
        return torch.stack(states)

    def line(self, from_input: Tensor, last: LineStates) -> LineStates:
        """(D, B, N, 4 h) of a line and what is kept of the one before -> what to keep of it."""
        length = from_input.shape[2]
        padded = F.pad(last.state, (0, 0, self.before, self.after))
        neighbours = [padded[:, :, at : at + length] for at in range(self.before + 1 + self.after)]
        from_states = torch.cat(neighbours, 3).flatten(1, 2)  # (D, B * N, reach * h)
        gates = torch.baddbmm(from_input.flatten(1, 2), from_states, self.weight.flatten(1, 2)).view_as(from_input)
        switches, candidate = gates.split([3 * self.hidden, self.hidden], 3)
        enter, forget, leave = switches.sigmoid().chunk(3, 3)
        cell = torch.addcmul(forget * last.cell, enter, candidate.tanh())
        return LineStates(leave * cell.tanh(), cell)
