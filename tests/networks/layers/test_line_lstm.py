import pytest
import torch

from lit_gen.networks.layers import line_lstm
from lit_gen.networks.layers.line_lstm import LineLSTM


def slowly(lstm: LineLSTM, from_input: torch.Tensor) -> torch.Tensor:
    """The same, cell by cell and in the words of the equation."""
    num_lines, directions, _, length, _ = from_input.shape
    states = {}
    cells = {}
    for t in range(num_lines):
        for d in range(directions):
            for n in range(length):
                gates = from_input[t, d, :, n]
                for number in range(lstm.weight.shape[2]):
                    neighbour = (t - 1, d, n + number - lstm.before)
                    if neighbour in states:
                        gates = gates + lstm.weight[d, :, number] @ states[neighbour]
                g, i, f, o = gates.chunk(4)
                cell = i.sigmoid() * g.tanh()
                if t > 0:
                    cell = cell + f.sigmoid() * cells[t - 1, d, n]
                cells[t, d, n] = cell
                states[t, d, n] = o.sigmoid() * cell.tanh()
    of_lines = [[[states[t, d, n] for n in range(length)] for d in range(directions)] for t in range(num_lines)]
    return torch.stack([torch.stack([torch.stack(of, 1) for of in directions]) for directions in of_lines])


CASES = [(1, 1, 1, 4), (1, 0, 2, 3), (2, 2, 1, 1), (0, 0, 1, 3), (3, 0, 2, 2)]


@pytest.mark.parametrize(("before", "after", "directions", "length"), CASES)
def test_states_and_gradients_are_those_of_the_equation(before, after, directions, length):
    torch.manual_seed(0)
    lstm = LineLSTM(2, before, after, directions).double()
    x = torch.randn(3, directions, 8, length, 2, dtype=torch.float64, requires_grad=True)
    states, expected = lstm(x), slowly(lstm, x)
    torch.testing.assert_close(states, expected)
    outer = torch.randn_like(states)
    gradients, known = (torch.autograd.grad((y * outer).sum(), [x, lstm.weight]) for y in (states, expected))
    for gradient, of_equation in zip(gradients, known, strict=True):
        torch.testing.assert_close(gradient, of_equation)


def test_it_reads_memory_in_any_order():
    lstm = LineLSTM(2, 1, 1)
    x = torch.randn(2, 5, 1, 8, 3).permute(1, 2, 3, 4, 0)
    assert not x.is_contiguous()
    torch.testing.assert_close(lstm(x), lstm(x.contiguous()))


def test_a_line_is_computed_in_one_call(monkeypatch):
    calls = []
    real = line_lstm.next_line
    monkeypatch.setattr(line_lstm, "next_line", lambda *args: (calls.append(1), real(*args)))
    LineLSTM(2, 1, 0, 2)(torch.randn(5, 2, 8, 7, 3))
    assert len(calls) == 5


def test_under_autocast_states_are_in_the_weights_precision():
    lstm = LineLSTM(4, 1, 1)
    x = torch.randn(5, 1, 16, 6, 2)
    with torch.autocast("cpu", torch.bfloat16):
        states = lstm(x.bfloat16())
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, lstm(x.bfloat16().float()))
