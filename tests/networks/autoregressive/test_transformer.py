"""The causal transformer: attention as its formula has it, and what each value may see."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.transformer import CausalTransformer


def transformer(event_shape=(3, 2, 2), **kwargs) -> CausalTransformer:
    torch.manual_seed(0)
    network = CausalTransformer(event_shape, 2, num_layers=2, num_heads=2, width=8, **kwargs).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


def normalized(norm: nn.LayerNorm, token: torch.Tensor) -> torch.Tensor:
    deviation = token - token.mean()
    return deviation / (deviation.square().mean() + norm.eps).sqrt() * norm.weight + norm.bias


def told_slowly(network: CausalTransformer, x: torch.Tensor) -> torch.Tensor:
    """One example (C, H, W) -> (P, C, H, W), token by token and head by head, with an explicit softmax."""
    channels, height, width = x.shape
    cells = [(c, i, j) for i in range(height) for j in range(width) for c in range(channels)]
    tokens = []
    for step, cell in enumerate(cells):
        before = network.start if step == 0 else network.value * (2 * x[cells[step - 1]] - 1)
        tokens.append(before + sum(table[index] for table, index in zip(network.places, cell, strict=True)))
    for block in network.blocks:
        queries, keys, values = [], [], []
        for token in tokens:
            projected = block.query_key_value.weight @ normalized(block.attention_norm, token)
            for kind, part in zip((queries, keys, values), projected.chunk(3), strict=True):
                kind.append(part.chunk(block.num_heads))
        for step, token in enumerate(tokens):
            heads = []
            for head in range(block.num_heads):
                scores = torch.stack([queries[step][head] @ keys[s][head] for s in range(step + 1)])
                weights = (scores / len(queries[step][head]) ** 0.5).softmax(0)
                heads.append(sum(weights[s] * values[s][head] for s in range(step + 1)))
            token = token + block.project.weight @ torch.cat(heads)
            hidden = block.widen.weight @ normalized(block.norm, token)
            tokens[step] = token + block.shrink.weight @ nn.functional.gelu(hidden)
    params = torch.empty(2, *x.shape, dtype=x.dtype)
    for token, cell in zip(tokens, cells, strict=True):
        params[(slice(None), *cell)] = network.head(normalized(network.norm, token))
    return params


def test_it_is_attention_to_the_values_before_in_the_order_of_rows_columns_and_channels():
    network = transformer().eval()
    x = torch.rand(3, 3, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([told_slowly(network, one) for one in x])
        torch.testing.assert_close(network(x), expected)


def test_with_dropout_training_sees_no_more():
    network = transformer((3, 3, 2), dropout=0.3).train()
    x = torch.rand(2, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    place = network.order().argsort()
    params = network(x).flatten(2)
    for cell in range(network.num_cells):
        (gradient,) = torch.autograd.grad(params[:, :, cell].sum(), x, retain_graph=True)
        assert (gradient.flatten(1)[:, place >= place[cell]] == 0).all()
    assert not torch.equal(params, network(x).flatten(2))


def test_training_without_dropout_computes_what_evaluation_does():
    network, x = transformer(), torch.rand(2, 3, 2, 2, dtype=torch.float64)
    assert torch.equal(network.train()(x), network.eval()(x))


def test_the_first_value_is_told_from_nothing():
    network = transformer(num_classes=2)
    x, label = torch.rand(4, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    first = network(x, label)[:, :, 0, 0, 0]
    torch.testing.assert_close(first[0], first[1])
    torch.testing.assert_close(first[2], first[3])
    assert not torch.allclose(first[0], first[2])


def test_untrained_it_tells_every_value_alike():
    params = CausalTransformer((1, 3, 3), 2, width=8)(torch.rand(2, 1, 3, 3))
    assert torch.equal(params, torch.zeros_like(params) + params[:1, :, :, :1, :1])


def test_vectors_are_told_in_turn():
    network = transformer(5).eval()
    x = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    params = network(x)
    assert params.shape == (2, 2, 5)
    (gradient,) = torch.autograd.grad(params[:, :, 3].sum(), x)
    assert ((gradient != 0).all(0) == torch.tensor([True, True, True, False, False])).all()


class CountCalls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_late_step_makes_no_more_calls_than_an_early_one():
    network = transformer((1, 6, 6)).eval()
    counts = []
    with torch.no_grad():
        stepper = network.stepper(2)
        stepper(None)
        for _ in range(network.num_cells - 1):
            with CountCalls() as calls:
                stepper(torch.rand(2, 1, dtype=torch.float64))
            counts.append(calls.count)
    assert set(counts) == {counts[0]}


@pytest.mark.parametrize(("width", "num_heads"), [(1, 1), (4, 2)])
def test_stepping_leaves_the_weights_as_they_are(width, num_heads):
    network = CausalTransformer((1, 3, 3), num_layers=1, num_heads=num_heads, width=width).eval()
    before = [parameter.clone() for parameter in network.parameters()]
    stepper = network.stepper(2)
    stepper(None)
    assert not stepper(torch.rand(2, 1)).requires_grad
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_heads": 3, "width": 8}, "3 heads can't share a width of 8"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        CausalTransformer((1, 4, 4), **arguments)
