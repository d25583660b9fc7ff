import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM
from lit_gen.networks.autoregressive.recurrent_layers import DiagonalBiLSTMLayer, RecurrentLayer, RowLSTMLayer
from lit_gen.networks.layers import line_lstm


def lstm(gates: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 4 h), (B, h) -> state and cell state."""
    g, i, f, o = gates.chunk(4, 1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * cell.tanh(), cell


def slow_row_states(layer: RecurrentLayer, gates: torch.Tensor) -> torch.Tensor:
    """Section 3.1 pixel by pixel: (B, 4 h, H, W) -> (B, h, H, W)."""
    zero = gates.new_zeros(len(gates), layer.lstm.hidden)
    height, width = gates.shape[2:]
    states, cells = {}, {}
    for i in range(height):
        for j in range(width):
            above = [states.get((i - 1, j + k), zero) for k in (-1, 0, 1)]
            inner = gates[:, :, i, j] + sum(h @ layer.lstm.weight[0, :, k].T for k, h in enumerate(above))
            states[i, j], cells[i, j] = lstm(inner, cells.get((i - 1, j), zero))
    return torch.stack([torch.stack([states[i, j] for j in range(width)], 2) for i in range(height)], 2)


def slow_diagonal_states(layer: RecurrentLayer, gates: torch.Tensor) -> torch.Tensor:
    """Section 3.2 pixel by pixel: (B, 8 h, H, W) -> (B, h, H, W)."""
    zero = gates.new_zeros(len(gates), layer.lstm.hidden)
    height, width = gates.shape[2:]
    ways = []
    for number, (of_way, aside) in enumerate(zip(gates.chunk(2, 1), (-1, 1), strict=True)):
        weight = layer.lstm.weight[number]
        states, cells = {}, {}
        for i in range(height):
            for j in range(width)[::-aside]:
                above, beside = states.get((i - 1, j), zero), states.get((i, j + aside), zero)
                inner = of_way[:, :, i, j] + above @ weight[:, 0].T + beside @ weight[:, 1].T
                states[i, j], cells[i, j] = lstm(inner, cells.get((i, j + aside), zero))
        ways.append(states)
    from_left, from_right = ways
    rows = [[from_left[i, j] + from_right.get((i - 1, j), zero) for j in range(width)] for i in range(height)]
    return torch.stack([torch.stack(row, 2) for row in rows], 2)


SIZES = [(4, 3), (3, 5), (1, 4), (4, 1)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(
    ("kind", "slow"), [(RowLSTMLayer, slow_row_states), (DiagonalBiLSTMLayer, slow_diagonal_states)]
)
def test_a_layers_states_are_those_of_a_loop_over_pixels(kind, slow, height, width):
    layer = kind(3, 1, None, None).double()
    gates = torch.randn(2, 4 * 3 * len(layer.lstm.weight), height, width, dtype=torch.float64)
    torch.testing.assert_close(layer.states(gates), slow(layer, gates))


@pytest.mark.parametrize(("height", "width"), [(6, 9), (9, 6)])
def test_it_loops_over_rows_or_diagonals_and_never_over_pixels(height, width, monkeypatch):
    calls = []
    real = line_lstm.next_line
    monkeypatch.setattr(line_lstm, "next_line", lambda *args: (calls.append(1), real(*args)))
    x = torch.rand(2, 1, height, width)
    RowLSTM((1, height, width), hidden=2, num_layers=3)(x)
    assert len(calls) == 3 * height
    calls.clear()
    DiagonalBiLSTM((1, height, width), hidden=2, num_layers=3)(x)
    assert len(calls) == 3 * (height + width - 1)


def seen(network: PixelRNN, row: int, column: int) -> torch.Tensor:
    """(H, W) bool: the pixels on which the parameters of a grey pixel depend."""
    x = torch.rand(2, *network.event_shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[:, :, 0, row, column].sum(), x)
    return (gradient != 0).any(0)[0]


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_row_lstm_sees_a_triangle(num_layers, kernel_size):
    torch.manual_seed(0)
    height, width, reach = 9, 31, kernel_size // 2
    network = RowLSTM(
        (1, height, width), hidden=8, num_layers=num_layers, kernel_size=kernel_size, head_features=64
    ).double()
    row, column = 8, 15
    expected = torch.zeros(height, width, dtype=torch.bool)
    for above in range(row + 1):
        # A state's input reaches one to the left, the states one more to both sides with each row. The first layer
        # hides its pixel and what is to the right of it, but for the rows above.
        left = column - above - num_layers - reach
        right = column + above - 1 + reach if above > 0 else column - 1
        expected[row - above, max(0, left) : right + 1] = True
    assert torch.equal(seen(network, row, column), expected)
    assert not expected[:row].all()  # it has a blind spot


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_diagonal_bilstm_sees_all_before_wherever_it_lies(num_layers):
    torch.manual_seed(0)
    height, width = 4, 12
    network = DiagonalBiLSTM((1, height, width), hidden=8, num_layers=num_layers, kernel_size=3).double()
    for row, column in [(3, 11), (3, 0), (2, 5), (1, 0), (1, 11)]:
        # With few rows above, the last pixel of the row right above is what the LSTM from the right could miss.
        before = torch.arange(height * width).view(height, width) < row * width + column
        assert torch.equal(seen(network, row, column), before)


@pytest.mark.parametrize("kind", [RowLSTM, DiagonalBiLSTM])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kernel_size", "num_layers"), [(3, 1), (9, 3)])
def test_steppers_of_other_kernels_depths_and_with_a_condition(kind, channels, kernel_size, num_layers):
    torch.manual_seed(0)
    shape = (channels, 5, 4)
    network = kind(
        shape, 2, 5, num_layers=num_layers, kernel_size=kernel_size, num_classes=3, condition_features=2
    ).double()
    x, condition = torch.rand(3, *shape, dtype=torch.float64), torch.randn(3, 2, 5, 4, dtype=torch.float64)
    label = torch.tensor([0, 2, 1])
    with torch.no_grad():
        for layer in network.layers:
            layer.class_bias.weight.normal_()
        whole = network(x, label, condition=condition).flatten(2)
        assert not torch.allclose(whole, network(x, label, condition=condition.flip(3)).flatten(2))
        stepper, previous = network.stepper(3, label, condition=condition), None
        for cell in network.order().tolist():
            torch.testing.assert_close(stepper(previous), whole[:, :, cell], rtol=1e-8, atol=1e-8)
            previous = x.view(3, 1, -1)[:, :, cell]


def test_two_steppers_do_not_disturb_each_other():
    network = DiagonalBiLSTM((1, 3, 3), hidden=4, num_layers=2)
    with torch.no_grad():
        first, second = network.stepper(2), network.stepper(2)
        params = first(None).clone()
        for value in (0.0, 1.0, 1.0, 0.0):
            first(torch.full((2, 1), value))
        assert torch.equal(second(None), params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": 16}, "is for images"),
        ({"event_shape": (1, 4, 4), "kernel_size": 1}, "odd number from 3"),
        ({"event_shape": (1, 4, 4), "kernel_size": 4}, "odd number from 3"),
        ({"event_shape": (1, 4, 4), "num_layers": 0}, "num_layers must be at least 1"),
        ({"event_shape": (1, 4, 4), "condition_features": 0}, "condition_features must be at least 1"),
        ({"event_shape": (3, 4, 4), "hidden": 2}, "cannot be divided among 3 channels"),
    ],
)
@pytest.mark.parametrize("kind", [RowLSTM, DiagonalBiLSTM])
def test_bad_arguments_are_refused(kind, arguments, message):
    with pytest.raises(UserError, match=message):
        kind(**arguments)
