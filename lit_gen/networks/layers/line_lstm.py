"""LSTMs that go through a map line by line.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Eq. 3,
https://arxiv.org/abs/1601.06759
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class LineLSTM(nn.Module):
    """LSTMs over the lines of a map: all cells of a line at once, each from its neighbours in the line before.

    With the candidate g, gates i, f and o, cell states c and states h, and * a convolution along the line:
    (g, i, f, o) = (tanh, s, s, s)(from input + weight * h_before), c = f c_before + i g, h = o tanh(c). The states
    before the first line and beyond the ends of one are zero.

    Args:
        hidden: h, features of a state.
        before: how many neighbours before its own place a cell looks at.
        after: how many behind it.
        num_directions: D, how many LSTMs go side by side, each with weights of its own.

    Attributes:
        weight: (D, 4 h, before + 1 + after, h), what a neighbour's state adds to g, i, f and o.
    """

    def __init__(self, hidden: int, before: int, after: int, num_directions: int = 1) -> None:
        super().__init__()
        self.hidden, self.before, self.after = hidden, before, after
        reach = before + 1 + after
        self.weight = nn.Parameter(torch.empty(num_directions, 4 * hidden, reach, hidden))
        bound = (reach * hidden) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, from_input: Tensor) -> Tensor:
        """What the input adds to the gates, (T, D, 4 h, N, B) of T lines of N cells -> states (T, D, h, N, B)."""
        # Sums over many lines in half precision would be too coarse.
        with torch.autocast(from_input.device.type, enabled=False):
            return _Lines.apply(from_input.to(self.weight.dtype), self.weight, self.before, torch.is_grad_enabled())


class _Lines(torch.autograd.Function):
    """The LSTMs and their gradient. What needn't wait for a line is computed for all of them in one call."""

    @staticmethod
    def forward(ctx, from_input: Tensor, weight: Tensor, before: int, keep: bool) -> Tensor:
        num_lines, directions, _, length, batch = from_input.shape
        reach, hidden = weight.shape[2:]
        states = from_input.new_empty(num_lines, directions, hidden, length, batch)
        # Where no gradient is wanted, one line's place does for all.
        num_kept = num_lines if keep else 1
        cells = states.new_zeros(num_kept, *states.shape[1:])
        gates = states.new_empty(num_kept, *from_input.shape[1:])
        neighbours = states.new_zeros(num_kept, directions, reach, hidden, length, batch)
        overlaps = _overlaps(reach, before, length)
        for t in range(num_lines):
            at = t if keep else 0
            if keep and t > 0:
                cells[t] = cells[t - 1]
            if t > 0:
                for number, (there, here) in enumerate(overlaps):
                    neighbours[at, :, number, :, here] = states[t - 1, :, :, there]
            next_line(from_input[t], neighbours[at], weight, gates[at], cells[at], states[t])
        if keep:
            ctx.save_for_backward(gates, cells, neighbours, weight)
            ctx.overlaps = overlaps
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, for_states: Tensor) -> tuple[Tensor, Tensor, None, None]:
        gates, cells, neighbours, weight = ctx.saved_tensors
        for_gates, cell_of_state, forget = _slopes(gates.unflatten(2, (4, -1)), cells)
        back = weight.flatten(2).mT.contiguous()  # (D, reach * h, 4 h)
        for_state, for_cell = torch.zeros_like(cells[0]), torch.zeros_like(cells[0])
        for t in reversed(range(len(gates))):
            for_state += for_states[t]
            for_cell.addcmul_(for_state, cell_of_state[t])
            for_gates[t, :, :3] *= for_cell.unsqueeze(1)
            for_gates[t, :, 3] *= for_state
            for_cell *= forget[t]
            for_neighbours = (back @ for_gates[t].flatten(1, 2).flatten(2)).view(neighbours.shape[1:])
            for_state.zero_()
            for number, (there, here) in enumerate(ctx.overlaps):
                for_state[:, :, there] += for_neighbours[:, number, :, here]
        for_gates = for_gates.flatten(2, 3)
        for_weight = for_gates.flatten(3) @ neighbours.flatten(2, 3).flatten(3).mT  # (T, D, 4 h, reach * h)
        return for_gates, for_weight.sum(0).view_as(weight), None, None


def next_line(
    from_input: Tensor, neighbours: Tensor, weight: Tensor, gates: Tensor, cell: Tensor, state: Tensor
) -> None:
    """One line of cells, in place.

    Args:
        from_input: (D, 4 h, N, B), what the input adds to the gates.
        neighbours: (D, reach, h, N, B), the states of each cell's neighbours in the line before.
        weight: (D, 4 h, reach, h).
        gates: (D, 4 h, N, B), where g, i, f and o are put.
        cell: (D, h, N, B), the cell states of the line before, and afterwards those of this one.
        state: (D, h, N, B), where the states are put.
    """
    from_states = neighbours.flatten(1, 2).flatten(2)  # (D, reach * h, N * B)
    torch.baddbmm(from_input.flatten(2), weight.flatten(2), from_states, out=gates.view(*gates.shape[:2], -1))
    candidate, enter, forget, leave = gates.chunk(4, 1)
    candidate.tanh_()
    gates[:, state.shape[1] :].sigmoid_()
    cell.mul_(forget).addcmul_(enter, candidate)
    torch.tanh(cell, out=state).mul_(leave)


def _slopes(gates: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of all lines, from gates (T, D, 4, h, N, B) and cell states (T, D, h, N, B).

    Returns:
        of the cell state by the inputs of g, i and f, and of the state by that of o, (T, D, 4, h, N, B); of the state
        by the cell state; of the cell state by that of the line before.
    """
    candidate, enter, forget, leave = gates.unbind(2)
    slopes, tanh = torch.empty_like(gates), cells.tanh()
    slopes[:, :, 0] = enter * (1 - candidate.square())
    slopes[:, :, 1] = enter * (1 - enter) * candidate
    slopes[0, :, 2] = 0
    slopes[1:, :, 2] = (forget * (1 - forget))[1:] * cells[:-1]
    slopes[:, :, 3] = leave * (1 - leave) * tanh
    return slopes, leave * (1 - tanh.square()), forget


def _overlaps(reach: int, before: int, length: int) -> list[tuple[slice, slice]]:
    """For each neighbour, where in the line before it lies, and of which cells of the line it is one."""
    overlaps = []
    for shift in range(-before, reach - before):
        ahead, behind = max(0, shift), max(0, -shift)
        there, here = slice(ahead, max(0, length - behind)), slice(behind, max(0, length - ahead))
        overlaps.append((there, here))
    return overlaps
