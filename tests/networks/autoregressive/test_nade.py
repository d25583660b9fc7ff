"""NADE against the recursion of its paper, and what its gradient keeps."""

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks import NADE
from lit_gen.networks.autoregressive import nade


def by_the_recursion(network: NADE, x: torch.Tensor, label: torch.Tensor, order: int) -> torch.Tensor:
    """Larochelle & Murray 2011, Algorithm 1: cell by cell."""
    values = x.flatten(1)
    total = network.hidden_bias[label]
    params = [None] * network.num_cells
    for cell in network.order(order).tolist():
        hidden = total.sigmoid()
        params[cell] = network.output_bias[cell, label] + hidden @ network.output_weight[cell]
        total = total + values[:, cell : cell + 1] * network.hidden_weight[cell]
    return torch.stack(params, 2).view(len(x), -1, *network.event_shape)


def gradients(params: torch.Tensor, x: torch.Tensor, network: NADE) -> tuple[torch.Tensor, ...]:
    weights = torch.rand(params.shape, dtype=params.dtype, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad((params * weights).sum(), [x, *network.parameters()])


@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
@pytest.mark.parametrize("chunk", [1, 7, 20, 100])
def test_outputs_and_gradients_are_the_recursions(monkeypatch, chunk, again):
    monkeypatch.setattr(nade, "CHUNK_CELLS", chunk)
    monkeypatch.setattr(nade, "KEPT_VALUES", 0 if again else 2**27)
    network = NADE((1, 4, 5), 6, 3, num_classes=2, num_orders=2, random_order=True).double()
    x, label = torch.rand(3, 1, 4, 5, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 1])
    for number in range(2):
        expected, params = by_the_recursion(network, x, label, number), network(x, label, number)
        torch.testing.assert_close(params, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(gradients(params, x, network), gradients(expected, x, network))


def test_of_a_large_batch_the_gradient_keeps_no_hidden_units(monkeypatch):
    network, x = NADE((1, 12, 12), 64), torch.rand(50, 1, 12, 12)
    kept = {}
    for limit in (2**27, 0):
        monkeypatch.setattr(nade, "KEPT_VALUES", limit)
        storages = {}

        def pack(tensor, storages=storages):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            params = network(x)
        kept[limit] = sum(storages.values())
        del params
    all_hidden = 4 * 50 * 144 * 64
    assert kept[2**27] > all_hidden
    assert kept[0] < all_hidden / 4


@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
def test_under_autocast_the_running_sum_is_in_the_weights_precision(monkeypatch, again):
    monkeypatch.setattr(nade, "KEPT_VALUES", 0 if again else 2**27)
    network, x = NADE((1, 12, 12), 8), torch.rand(3, 1, 12, 12, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(x)
    single = network(x)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, single)
    for got, expected in zip(*(gradients(params, x, network) for params in (mixed, single)), strict=True):
        assert torch.equal(got, expected)


def test_bad_arguments_are_refused():
    with pytest.raises(UserError, match="num_hidden must be at least 1"):
        NADE((1, 2, 2), 0)
    with pytest.raises(UserError, match="set random_order: true"):
        NADE((1, 2, 2), 5, num_orders=2)
    NADE((1, 2, 2), 5, num_orders=2, random_order=True, activation=nn.ReLU)
