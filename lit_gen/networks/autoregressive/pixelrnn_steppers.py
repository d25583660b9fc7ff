"""PixelRNNs cell by cell: what depends on finished rows once a row, and one column of work a cell."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lit_gen.networks.autoregressive.pixel_head import HeadByGroup
from lit_gen.networks.autoregressive.pixel_stepper import MaskedConvByGroup, PixelStepper
from lit_gen.networks.autoregressive.pixelrnn_cells import Gates, LayerStep, gates_by_channel, parts_by_channel
from lit_gen.networks.layers.masked_conv import group_sizes


class _Column(NamedTuple):
    """What a layer keeps at a column of the row, views (N, ...)."""

    window: Tensor
    below: Tensor
    state: Tensor
    cell: Tensor
    output_from_rows: Tensor


class _RowByRow(PixelStepper):
    """Base of the steppers.

    A subclass keeps ``weights``, for each layer (k, 4 h) from its window to the gates in the order ``self.gate_order``,
    and says in ``_column`` where things are, in ``_start_row`` what finished rows add, in ``_end_row`` what to make of
    a row that is finished.
    """

    def __init__(self, network: nn.Module, num: int, label: Tensor | None, condition: Tensor | None) -> None:
        super().__init__(network, num, network.first.left)
        self.num, self.label, self.condition = num, label, condition
        self.layers = network.layers
        self.hidden = self.layers[0].lstm.hidden
        self.first = MaskedConvByGroup(network.first, num, self.width)
        self.gate_order = torch.cat(gates_by_channel(self.hidden, self.num_groups)).to(self.row.device)
        self.from_rows = self._zeros(len(self.layers), self.width, num, 4 * self.hidden)

    def _zeros(self, *shape: int) -> Tensor:
        return self.row.new_zeros(shape)

    def _context(self, row: int) -> Tensor:
        """(L, W or 1, N or 1, gates), what biases the layers' gates in a row."""
        condition = None if self.condition is None else self.condition[:, :, row : row + 1]
        contexts = []
        for layer in self.layers:
            context = layer.context(self.label, condition)
            context = self._zeros(1, 1, 1, 1) if context is None else context
            contexts.append(context.squeeze(2).permute(2, 0, 1) + layer.input_to_state.bias)
        return torch.stack(contexts)

    def _prepare(self, network: nn.Module) -> None:
        """Lay out the work of a row: for each of its cells the layers' steps."""
        last = self._zeros(self.num, 2 * self.hidden)
        self.last = parts_by_channel(last, self.num_groups)
        self.head = HeadByGroup(network.head, self.num)
        sizes = group_sizes(self.hidden, self.num_groups)
        self.scratch = [(Gates.of(self._zeros(self.num, 4 * size)), self._zeros(self.num, size)) for size in sizes]
        self.outputs = parts_by_channel(self._zeros(self.num, 2 * self.hidden), self.num_groups)
        self.output_taps = [layer.output.row_taps() for layer in self.layers]
        self.gate_weights = [weight.split([4 * size for size in sizes], 1) for weight in self.weights]
        self.steps, self.starts = [], []
        for at in range(self.width):
            columns = [self._column(number, at) for number in range(len(self.layers))]
            belows = [column.below for column in columns] + [last]
            self.steps.append([self._steps(channel, at, columns, belows) for channel in range(self.num_groups)])
            self.starts.append(parts_by_channel(columns[0].below, self.num_groups))

    def _steps(self, channel: int, at: int, columns: list[_Column], belows: list[Tensor]) -> list[LayerStep]:
        sizes = group_sizes(self.hidden, self.num_groups)
        begin, end = sum(sizes[:channel]), sum(sizes[: channel + 1])
        gates, scratch = self.scratch[channel]
        steps = []
        for number, column in enumerate(columns):
            below, above, output_from_rows = (
                parts_by_channel(x, self.num_groups)[channel]
                for x in (*belows[number : number + 2], column.output_from_rows)
            )
            steps.append(
                LayerStep(
                    window=column.window,
                    weight=self.gate_weights[number][channel],
                    from_rows=self.from_rows[number, at, :, 4 * begin : 4 * end],
                    gates=gates,
                    scratch=scratch,
                    cell=column.cell[:, begin:end],
                    state=column.state[:, begin:end],
                    states=column.state[:, :end],
                    output_weight=self.output_taps[number][channel].weight,
                    output_from_rows=output_from_rows,
                    output=self.outputs[channel],
                    below=below,
                    above=above,
                )
            )
        return steps

    def _column(self, number: int, at: int) -> _Column:
        raise NotImplementedError

    def _start_row(self, row: int) -> None:
        raise NotImplementedError

    def _end_row(self) -> None:
        raise NotImplementedError

    def begin_row(self, above: Tensor) -> None:
        row = self.done // (self.num_groups * self.width)
        if row > 0:
            self._end_row()
        self.first.look_up(above)
        self._start_row(row)

    def end_pixel(self, column: int) -> None:
        """States and cell states are in their places."""

    def tell(self, column: int, group: int) -> Tensor:
        weight, start = self.first.weights[group], self.starts[column][group]
        torch.addmm(self.first.contexts[column][group], self.window(column, len(weight)), weight, out=start)
        for step in self.steps[column][group]:
            step.run()
        return self.head(self.last[group], group)


class RowLSTMStepper(_RowByRow):
    """Keeps for each layer the states of one row, and of the row at hand what it has got as input.

    Args:
        network: a ``RowLSTM`` in evaluation mode.
        num: N, number of examples.
        label: (N,) class indices, where it is conditioned on them.
        condition: (N, F, H, W), where it is conditioned on a map.
    """

    @torch.no_grad()
    def __init__(
        self, network: nn.Module, num: int, label: Tensor | None = None, condition: Tensor | None = None
    ) -> None:
        super().__init__(network, num, label, condition)
        layer, count = self.layers[0], len(self.layers)
        self.left, self.beside = layer.input_to_state.left, layer.lstm.before
        self.inputs = self._zeros(count, num, self.left + self.width, 2 * self.hidden)
        self.states = self._zeros(count, self.beside + self.width + self.beside, num, self.hidden)
        self.cells = self._zeros(count, self.width, num, self.hidden)
        weights = [layer.input_to_state.weight_of_row.flatten(0, 1) for layer in self.layers]
        self.weights = [weight[:, self.gate_order] for weight in weights]
        of_states = torch.stack([layer.lstm.weight[0].flatten(1).T for layer in self.layers])
        self.state_weight = of_states[:, :, self.gate_order]  # (L, reach * h, 4 h)
        self.output_bias = torch.stack([layer.output.bias for layer in self.layers]).unsqueeze(1)  # (L, 1, 2 h)
        self._prepare(network)

    def _column(self, number: int, at: int) -> _Column:
        return _Column(
            window=self.inputs[number, :, at : at + self.left + 1].view(self.num, -1),
            below=self.inputs[number, :, at + self.left],
            state=self.states[number, at + self.beside],
            cell=self.cells[number, at],
            output_from_rows=self.output_bias[number],
        )

    def _start_row(self, row: int) -> None:
        self.from_rows.copy_(self._context(row)[..., self.gate_order])
        neighbours = [self.states[:, at : at + self.width] for at in range(2 * self.beside + 1)]
        from_states = torch.cat(neighbours, 3).flatten(1, 2)
        self.from_rows.view(len(from_states), -1, 4 * self.hidden).baddbmm_(from_states, self.state_weight)

    def _end_row(self) -> None:
        """States and cell states are in their places."""


class DiagonalBiLSTMStepper(_RowByRow):
    """Keeps for each layer the states of one row in both directions, and of the row at hand what it has got as input.

    All layers' inputs in a row are known when it is finished: their LSTMs from the right then go through it together.

    Args:
        network: a ``DiagonalBiLSTM`` in evaluation mode.
        num: N, number of examples.
        label: (N,) class indices, where it is conditioned on them.
        condition: (N, F, H, W), where it is conditioned on a map.
    """

    @torch.no_grad()
    def __init__(
        self, network: nn.Module, num: int, label: Tensor | None = None, condition: Tensor | None = None
    ) -> None:
        super().__init__(network, num, label, condition)
        count, hidden, features = len(self.layers), self.hidden, 2 * self.hidden
        # At each column the layer's input, and the state of the column before.
        self.inputs = self._zeros(count, num, self.width + 1, features + hidden)
        self.cells = self._zeros(count, num, hidden)
        self.output_from_rows = self._zeros(count, self.width, num, features)
        self.right_gates = self._zeros(count, self.width, num, 4 * hidden)
        self.right_states = self._zeros(count, self.width + 1, num, hidden)
        self.right_cell, self.right_scratch = self._zeros(2, count, num, hidden)
        self.right_switches = Gates.of(self._zeros(count, num, 4 * hidden))
        self._take_weights(network)
        self._prepare(network)

    def _take_weights(self, network: nn.Module) -> None:
        gates = 4 * self.hidden
        of_inputs = torch.stack([layer.input_to_state.weight_of_row[-1] for layer in self.layers])  # (L, 2 h, 8 h)
        # (L, directions, above and beside, h, 4 h)
        of_states = torch.stack([layer.lstm.weight.permute(0, 2, 3, 1) for layer in self.layers])
        self.weights = torch.cat([of_inputs[:, :, :gates], of_states[:, 0, 1]], 1)[:, :, self.gate_order]
        self.above_weight = of_states[:, 0, 0][:, :, self.gate_order]
        self.right_weight = torch.cat([of_inputs[:, :, gates:], of_states[:, 1, 0]], 1)  # from input, and state above
        self.right_beside_weight = of_states[:, 1, 1].contiguous()
        self.pixels_weight = network.pixels_to_state.weight.detach().flatten(1).T
        self.output_weight = torch.stack([layer.output.weight_of_row[-1] for layer in self.layers])  # (L, h, 2 h)
        self.output_bias = torch.stack([layer.output.bias for layer in self.layers])[:, None, None]

    def _column(self, number: int, at: int) -> _Column:
        features = 2 * self.hidden
        return _Column(
            window=self.inputs[number, :, at],
            below=self.inputs[number, :, at, :features],
            state=self.inputs[number, :, at + 1, features:],
            cell=self.cells[number],
            output_from_rows=self.output_from_rows[number, at],
        )

    def _rows(self, x: Tensor) -> Tensor:
        """(L, W, N, features) -> (L, W * N, features)."""
        return x.flatten(1, 2)

    def _start_row(self, row: int) -> None:
        self.context = self._context(row)
        above = self.inputs[:, :, 1:, 2 * self.hidden :].transpose(1, 2)
        self.from_rows.copy_(self.context[..., self.gate_order])
        self._rows(self.from_rows).baddbmm_(self._rows(above), self.above_weight)
        self.output_from_rows.copy_(self.output_bias)
        self._rows(self.output_from_rows).baddbmm_(self._rows(self.right_states[:, :-1]), self.output_weight)
        self.cells.zero_()

    def _end_row(self) -> None:
        """The LSTMs from the right, through the row."""
        gates, features = self.right_gates, 2 * self.hidden
        inputs = self.inputs[:, :, :-1, :features].transpose(1, 2)
        gates.copy_(self.context[..., 4 * self.hidden :])
        pixels = self.rows_above[:, -1, self.reach : -self.reach]  # of the row that is finished
        gates[0] += pixels.transpose(0, 1) @ self.pixels_weight
        self._rows(gates).baddbmm_(self._rows(torch.cat([inputs, self.right_states[:, :-1]], 3)), self.right_weight)
        self.right_cell.zero_()
        for at in reversed(range(self.width)):
            beside = self.right_states[:, at + 1]
            torch.baddbmm(gates[:, at], beside, self.right_beside_weight, out=self.right_switches.all)
            self.right_switches.lstm(self.right_cell, self.right_scratch, self.right_states[:, at])
