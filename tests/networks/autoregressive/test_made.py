"""MADE: its degrees and masks, and an ensemble of orders that is a mixture."""

import itertools

import pytest
import torch
from torch import nn

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.errors import UserError
from lit_gen.models.autoregressive.autoregressive_model import AutoregressiveModel
from lit_gen.models.autoregressive.drawing import NaiveStepper, num_cells_of_rows
from lit_gen.networks import MADE, FullyVisibleBeliefNetwork


def all_binary(shape: tuple[int, ...]) -> torch.Tensor:
    size = torch.Size(shape).numel()
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)), dtype=torch.float64).view(-1, *shape)


def sharp(network: nn.Module) -> nn.Module:
    """In double precision, with large weights: its orders then disagree."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(2 * torch.randn(parameter.shape, generator=generator))
    return network.double().eval()


def test_an_ensemble_averages_probabilities_whereas_averaged_logits_are_of_no_distribution():
    torch.manual_seed(0)
    network = MADE((1, 2, 3), [16], num_orders=4, random_order=True).double()
    model, x = AutoregressiveModel(network, BernoulliHead()), all_binary((1, 2, 3))
    dark_or_light = x[[0, -1]]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for step in range(100):
        optimizer.zero_grad()
        (-model.distribution(network(dark_or_light, None, step % 4)).log_prob(dark_or_light).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        p = model.log_prob(x).exp()
        logits = torch.stack([network(x, None, number) for number in range(4)])
        of_orders = torch.stack([model.distribution(params).log_prob(x).exp() for params in logits])
        of_averaged_logits = model.distribution(logits.mean(0)).log_prob(x).exp()
    torch.testing.assert_close(of_orders.sum(1), torch.ones(4, dtype=torch.float64), rtol=1e-9, atol=0)
    torch.testing.assert_close(p, of_orders.mean(0), rtol=1e-9, atol=0)
    assert p.sum().item() == pytest.approx(1.0, abs=1e-9)
    assert of_averaged_logits.sum() > 1.5


@pytest.mark.parametrize("width", [11, 12, 30, 501])
def test_a_wide_layer_has_every_degree_as_often_as_another(width):
    network = MADE(12, [width, width], num_orders=3)
    for number in range(3):
        for degrees in network.degrees(number)[1:-1]:
            count = degrees.bincount(minlength=12)
            assert count[0] == 0 and len(count) == 12
            assert count[1:].max() - count[1:].min() <= 1


def test_a_narrow_layer_spreads_its_degrees():
    _, degrees, _ = MADE(101, [10]).degrees(0)
    spread = degrees.sort().values
    assert spread[0] >= 1 and spread[-1] <= 100
    assert (spread.diff() == 10).all()


def test_each_mask_joins_other_units_even_in_the_natural_order():
    network = MADE(6, [10], num_orders=2)
    x = torch.rand(4, 6)
    assert torch.equal(network.order(0), network.order(1))
    assert not torch.allclose(network(x, None, 0), network(x, None, 1))


def test_a_checkpoint_keeps_the_orders_and_degrees_that_it_was_trained_on():
    trained, loaded = (MADE(6, [10], num_orders=2, random_order=True, seed=seed) for seed in (0, 1))
    x = torch.rand(4, 6)
    assert not torch.equal(trained.order(1), loaded.order(1))
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(trained.order(1), loaded.order(1))
    assert torch.equal(trained(x, None, 1), loaded(x, None, 1))


def test_with_direct_connections_alone_it_is_a_belief_network():
    belief, made = FullyVisibleBeliefNetwork((3, 2, 2), 2), sharp(MADE((3, 2, 2), [], 2, direct=True))
    with torch.no_grad():
        belief.double().weight.copy_(made.output.weight.view_as(belief.weight))
        belief.bias.copy_(made.output.bias.view_as(belief.bias))
    x = torch.rand(5, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(made(x), belief(x))


@pytest.mark.parametrize("hidden_dims", [[], [3], [5, 2, 4], [1, 1], [2, 90]], ids=str)
@pytest.mark.parametrize("event_shape", [(1, 4, 5), (3, 1, 3), (1, 1, 1)], ids=str)
def test_where_units_of_some_degrees_are_missing_its_stepper_is_right_too(event_shape, hidden_dims):
    network = MADE(event_shape, hidden_dims, 2, None, 2, random_order=True, direct=True, activation=nn.Softplus)
    network, x = sharp(network), torch.rand(3, *event_shape, dtype=torch.float64)
    with torch.no_grad():
        for number in range(2):
            previous, steppers = None, (network.stepper(3, None, number), NaiveStepper(network, 3, None, number))
            for cell in network.order(number).tolist():
                torch.testing.assert_close(*(stepper(previous) for stepper in steppers), rtol=1e-9, atol=1e-9)
                previous = x.view(3, 1, -1)[:, :, cell]


def test_rows_can_be_given_in_the_natural_order_and_not_in_another():
    assert num_cells_of_rows(MADE((1, 4, 5), [8]), 2) == 10
    with pytest.raises(UserError, match="row by row"):
        num_cells_of_rows(MADE((1, 4, 5), [8], random_order=True), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_dims": [5, 0]}, "at least 1 unit"),
        ({"hidden_dims": []}, "direct: true"),
        ({"hidden_dims": [5], "num_orders": 0}, "num_orders must be at least 1"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        MADE((1, 2, 2), **arguments)
