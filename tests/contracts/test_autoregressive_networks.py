"""What every network of an autoregressive model owes, over every member: order, density, and stepping."""

import gc
import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import nn

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.categorical import CategoricalHead
from lit_gen.distributions.discretized_logistic_mixture import DiscretizedLogisticMixtureHead
from lit_gen.distributions.pixel_logistic_mixture import PixelLogisticMixtureHead
from lit_gen.models.autoregressive.autoregressive_model import AutoregressiveModel
from lit_gen.models.autoregressive.causality import check_causality
from lit_gen.models.autoregressive.drawing import NaiveStepper, draw_cells
from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.networks.autoregressive.belief_network import FullyVisibleBeliefNetwork
from lit_gen.networks.autoregressive.gated_pixelcnn import GatedPixelCNN
from lit_gen.networks.autoregressive.made import MADE
from lit_gen.networks.autoregressive.multi_scale import MultiScale
from lit_gen.networks.autoregressive.nade import NADE
from lit_gen.networks.autoregressive.pixelcnn import PixelCNN
from lit_gen.networks.autoregressive.pixelcnnpp import PixelCNNpp
from lit_gen.networks.autoregressive.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM
from lit_gen.networks.autoregressive.pixelsnail import PixelSNAIL
from lit_gen.networks.autoregressive.transformer import CausalTransformer


class Member(NamedTuple):
    """A small network of a kind, large enough that the last cell sees all others of images up to 7 x 5.

    Attributes:
        make: (event_shape, params_per_output, num_classes) -> the network.
        by_channel: whether it has a cell for each channel of a pixel.
        has_blind_spot: whether it misses some of the cells before.
    """

    make: Callable[[tuple[int, ...], int, int | None], OrderedNetwork]
    by_channel: bool = True
    has_blind_spot: bool = False


def pixelcnn(event_shape, params_per_output, num_classes, **kwargs) -> PixelCNN:
    sizes = {"channels": 4, "num_blocks": 4, "first_kernel_size": 5, "head_channels": 12}
    return PixelCNN(event_shape, params_per_output, num_classes=num_classes, **(sizes | kwargs))


def gated_pixelcnn(event_shape, params_per_output, num_classes, **kwargs) -> GatedPixelCNN:
    sizes = {"channels": 4, "num_layers": 4, "first_kernel_size": 5, "head_channels": 24}
    return GatedPixelCNN(event_shape, params_per_output, num_classes=num_classes, **(sizes | kwargs))


def pixelcnnpp(num_blocks, num_resolutions, event_shape, params_per_output, num_classes) -> PixelCNNpp:
    return PixelCNNpp(event_shape, params_per_output, 5, num_blocks, num_resolutions, 0.2, num_classes)


def pixelrnn(kind: type[PixelRNN]) -> Callable[[tuple[int, ...], int, int | None], OrderedNetwork]:
    return lambda event_shape, params_per_output, num_classes: kind(
        event_shape, params_per_output, hidden=9, num_layers=2, head_features=24, num_classes=num_classes
    )


def multi_scale(event_shape: tuple[int, ...], params_per_output: int, num_classes: int | None) -> OrderedNetwork:
    (channels, height, width), arguments = event_shape, {"num_layers": 1, "head_features": 24}
    arguments |= {"params_per_output": params_per_output, "num_classes": num_classes}
    small = DiagonalBiLSTM((channels, -(-height // 2), -(-width // 2)), hidden=9, **arguments)
    return MultiScale(small, DiagonalBiLSTM(event_shape, hidden=9, condition_features=5, **arguments))


MEMBERS = {
    # --- fully connected
    "belief_network": Member(FullyVisibleBeliefNetwork),
    "nade": Member(lambda shape, params, classes: NADE(shape, 7, params, classes)),
    "nade_orders": Member(
        lambda shape, params, classes: NADE(shape, 5, params, classes, 3, random_order=True, activation=nn.Tanh)
    ),
    "made": Member(lambda shape, params, classes: MADE(shape, [70, 63], params, classes, activation=nn.Tanh)),
    "made_orders": Member(
        lambda shape, params, classes: MADE(shape, [64], params, classes, 3, random_order=True, direct=True)
    ),
    # --- PixelCNN and Gated PixelCNN
    "pixelcnn": Member(pixelcnn, has_blind_spot=True),
    "pixelcnn_by_pixel": Member(partial(pixelcnn, by_channel=False), by_channel=False, has_blind_spot=True),
    "gated_pixelcnn": Member(gated_pixelcnn),
    "gated_pixelcnn_wide_kernel": Member(partial(gated_pixelcnn, num_layers=2, kernel_size=5)),
    "gated_pixelcnn_by_pixel": Member(partial(gated_pixelcnn, by_channel=False), by_channel=False),
    # --- PixelCNN++
    "pixelcnnpp": Member(partial(pixelcnnpp, 1, 3), by_channel=False),
    "pixelcnnpp_flat": Member(partial(pixelcnnpp, 2, 1), by_channel=False),
    # --- PixelRNN
    "row_lstm": Member(pixelrnn(RowLSTM), has_blind_spot=True),
    "diagonal_bilstm": Member(pixelrnn(DiagonalBiLSTM)),
    "multi_scale": Member(multi_scale),
    # --- attention
    "transformer": Member(
        lambda event_shape, params_per_output, num_classes: CausalTransformer(
            event_shape, params_per_output, num_layers=2, num_heads=2, width=8, num_classes=num_classes
        )
    ),
    "pixelsnail": Member(
        lambda event_shape, params_per_output, num_classes: PixelSNAIL(
            event_shape, params_per_output, 6, num_blocks=2, key_dim=2, value_dim=3, num_classes=num_classes
        ),
        by_channel=False,
    ),
}

OUTPUTS = {
    "bernoulli": (BernoulliHead(), (1, 2, 3)),
    "bernoulli_odd": (BernoulliHead(), (1, 3, 3)),
    "categorical": (CategoricalHead(3), (1, 2, 3)),
    "logistic_mixture": (DiscretizedLogisticMixtureHead(2, 4), (1, 2, 2)),
}
BY_CHANNEL_OUTPUTS = {
    "bernoulli_rgb": (BernoulliHead(), (3, 2, 1)),
    "categorical_rgb": (CategoricalHead(3), (3, 1, 2)),
    "logistic_mixture_rgb": (DiscretizedLogisticMixtureHead(2, 3), (3, 1, 2)),
}
BY_PIXEL_OUTPUTS = {
    "pixel_logistic_mixture": (PixelLogisticMixtureHead(2, 3, 3), (3, 1, 2)),
    "pixel_logistic_mixture_grey": (PixelLogisticMixtureHead(2, 1, 4), (1, 2, 2)),
}


def outputs_of(member: Member) -> dict:
    return OUTPUTS | (BY_CHANNEL_OUTPUTS if member.by_channel else BY_PIXEL_OUTPUTS)


def randomized(network: OrderedNetwork, seed: int = 0) -> OrderedNetwork:
    """In double precision, with weights of which none is zero: layers that begin there would hide what they let
    through."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return network.double()


def build(member: Member, event_shape=(1, 5, 4), params_per_output=2, num_classes=None, seed=0) -> OrderedNetwork:
    torch.manual_seed(seed)
    return randomized(member.make(event_shape, params_per_output, num_classes), seed)


def places(network: OrderedNetwork, number: int = 0) -> torch.Tensor:
    """(S,) where in the order each cell stands."""
    return network.order(number).argsort()


@pytest.fixture(params=MEMBERS)
def member(request) -> Member:
    return MEMBERS[request.param]


CASES = [(name, output) for name, member in MEMBERS.items() for output in outputs_of(member)]


@pytest.mark.parametrize(("name", "output"), CASES, ids=["-".join(case) for case in CASES])
def test_probabilities_of_all_examples_sum_to_one(name, output):
    member = MEMBERS[name]
    head, event_shape = outputs_of(member)[output]
    network = build(member, event_shape, head.params_per_output).eval()
    model = AutoregressiveModel(network, head)
    size = torch.Size(event_shape).numel()
    levels = torch.linspace(0, 1, head.num_levels, dtype=torch.float64)
    x = torch.tensor(list(itertools.product(levels, repeat=size)), dtype=torch.float64).view(-1, *event_shape)
    with torch.no_grad():
        log_p = torch.cat([model.log_prob(part) for part in x.split(512)])
    assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert log_p.std() > 1e-3  # not a uniform distribution, which would hide what the network does


@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("event_shape", [(1, 5, 4), (3, 4, 3)])
def test_shapes_order_and_finite_gradients_everywhere(member, event_shape, num_classes):
    network = build(member, event_shape, 2, num_classes)
    label = None if num_classes is None else torch.tensor([0, 2, 1])
    x = torch.rand(3, *event_shape, dtype=torch.float64)
    assert network.event_shape == event_shape
    assert network.cell_shape == (event_shape if member.by_channel else (1, *event_shape[1:]))
    params = network(x, label)
    assert params.shape == (3, 2, *network.cell_shape)
    for number in range(network.num_orders):
        assert network.order(number).sort().values.tolist() == list(range(network.num_cells))
    sum((network(x, label, number) * torch.rand_like(params)).sum() for number in range(network.num_orders)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("event_shape", [(1, 5, 4), (3, 4, 3)])
def test_its_jacobian_is_causal_and_misses_nothing(member, event_shape, training):
    network = build(member, event_shape).train(training)
    for number in range(network.num_orders):
        place = places(network, number)
        x = torch.rand(2, *event_shape, dtype=torch.float64, requires_grad=True)
        torch.manual_seed(1)  # of dropout
        params = network(x, None, number).flatten(2)  # (B, P, S)
        weights = torch.rand(params.shape[:2], dtype=torch.float64)
        sees = torch.empty(network.num_cells, network.num_cells, dtype=torch.bool)
        for cell in range(network.num_cells):
            (gradient,) = torch.autograd.grad((params[:, :, cell] * weights).sum(), x, retain_graph=True)
            by_value = gradient.reshape(2, network.values_per_cell, -1) != 0
            sees[cell] = by_value.any(0).any(0)
        may = place.unsqueeze(1) > place
        assert not (sees & ~may).any()
        if not member.has_blind_spot:
            assert torch.equal(sees, may)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_an_example_tells_nothing_of_its_batch_companions(member, training):
    network = build(member).train(training)
    x = torch.rand(3, *network.event_shape, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    (gradient,) = torch.autograd.grad(network(x)[0].square().sum(), x)
    assert gradient[0].abs().sum() > 0
    assert gradient[1:].abs().sum() == 0


def test_it_passes_the_check_of_causality(member):
    check_causality(member.make((1, 5, 4), 2, None), None, torch.device("cpu"))
    check_causality(member.make((1, 5, 4), 2, 3), torch.tensor([0, 2]), torch.device("cpu"))


@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("event_shape", [(1, 7, 5), (3, 5, 4), (1, 4, 7), (1, 1, 6), (1, 6, 1), (1, 8, 8)], ids=str)
def test_its_stepper_tells_what_the_whole_network_does(member, event_shape, num_classes):
    network = build(member, event_shape, 3, num_classes).eval()
    label = None if num_classes is None else torch.tensor([0, 2, 1])
    x = torch.rand(3, *event_shape, dtype=torch.float64)
    cells = x.view(3, network.values_per_cell, network.num_cells)
    with torch.no_grad():
        for number in range(network.num_orders):
            whole = network(x, label, number).flatten(2)
            stepper, previous = network.stepper(3, label, number), None
            for cell in network.order(number).tolist():
                torch.testing.assert_close(stepper(previous), whole[:, :, cell], rtol=1e-8, atol=1e-8)
                previous = cells[:, :, cell]


@pytest.mark.parametrize("event_shape", [(1, 5, 4), (3, 4, 3)])
def test_in_single_precision_it_draws_what_the_naive_sampler_draws(member, event_shape):
    head = outputs_of(member)["categorical_rgb" if member.by_channel and event_shape[0] == 3 else "categorical"][0]
    if not member.by_channel and event_shape[0] == 3:
        head = BY_PIXEL_OUTPUTS["pixel_logistic_mixture"][0]
    network = build(member, event_shape, head.params_per_output).float().eval()
    distribution = AutoregressiveModel(network, head).distribution
    drawn = []
    for naive in (False, True):
        torch.manual_seed(0)
        drawn.append(draw_cells(network, distribution, 6, naive=naive))
    assert torch.equal(*drawn)
    assert drawn[0].std() > 0
    with torch.no_grad():
        whole = network(drawn[0]).flatten(2)
        for stepper in (network.stepper(6), NaiveStepper(network, 6)):
            previous, cells = None, drawn[0].view(6, network.values_per_cell, -1)
            for cell in network.order().tolist():
                torch.testing.assert_close(stepper(previous), whole[:, :, cell], rtol=1e-4, atol=1e-4)
                previous = cells[:, :, cell]


def bytes_of_tensors() -> int:
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]
    return sum({tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def test_what_its_stepper_keeps_does_not_grow(member):
    network = build(member, (1, 8, 6)).eval()
    previous, sizes = None, []
    with torch.no_grad():
        stepper = network.stepper(4)
        for done in range(network.num_cells):
            stepper(previous)
            previous = torch.rand(4, network.values_per_cell, dtype=torch.float64)
            if done in (network.num_cells // 2 - 1, network.num_cells - 1):
                sizes.append(bytes_of_tensors())
    assert sizes[1] <= sizes[0]


def test_classes_make_a_difference(member):
    network = build(member, num_classes=3).eval()
    x = torch.rand(2, *network.event_shape, dtype=torch.float64)
    first, second = network(x, torch.tensor([0, 1])), network(x, torch.tensor([2, 1]))
    assert not torch.allclose(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_saved_and_loaded_it_computes_the_same(member):
    network, other = build(member).eval(), build(member, seed=1).eval()
    x = torch.rand(2, *network.event_shape, dtype=torch.float64)
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(x), other(x))
