"""What drawing images cell by cell costs with a network's own stepper beside a whole forward pass for every cell.

Both sides draw 16 images with the same network, of random weights. A forward pass costs the same at every cell, so the
naive side is timed on a share of the cells, spread evenly, and scaled to all of them. The promise is a ratio of at most
one hundredth (or less): a hundred times faster.

``pixel_sampling_growth`` is the exponent of an image's cost as a power of its number of pixels, fitted to images of 16
to 64 pixels a side.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.harness import Result, compare, summarise
from lit_gen.distributions import BernoulliHead, CategoricalHead, PixelLogisticMixtureHead
from lit_gen.models import AutoregressiveModel
from lit_gen.models.autoregressive.drawing import NaiveStepper
from lit_gen.networks import GatedPixelCNN, PixelCNNpp

NUM_IMAGES = 16
TURNS = 3
NAIVE_CELLS = 6
SIDES = (16, 24, 32, 48, 64)


def model_of(network: nn.Module, head: nn.Module) -> AutoregressiveModel:
    """The model, in evaluation mode."""
    return AutoregressiveModel(network, head).eval()


def cached(model: AutoregressiveModel) -> float:
    """Seconds that 16 images take."""
    torch.manual_seed(0)
    start = time.perf_counter()
    model.sample(NUM_IMAGES)
    return time.perf_counter() - start


@torch.no_grad()
def naive(model: AutoregressiveModel, num_cells: int = NAIVE_CELLS) -> float:
    """Seconds that 16 images would take: those of a few cells, times the number of cells over theirs."""
    torch.manual_seed(0)
    network = model.network
    stepper = NaiveStepper(network, NUM_IMAGES)
    start = time.perf_counter()
    for cell in range(0, network.num_cells, math.ceil(network.num_cells / num_cells)):
        stepper.done = cell
        params = stepper(None)
        model.distribution(params[:, :, None, None]).sample()
    taken = len(range(0, network.num_cells, math.ceil(network.num_cells / num_cells)))
    return (time.perf_counter() - start) * network.num_cells / taken


def gated(event_shape: tuple[int, int, int], params_per_output: int) -> GatedPixelCNN:
    """15 layers of 64 channels."""
    torch.manual_seed(0)
    return GatedPixelCNN(event_shape, params_per_output, num_layers=15, channels=64)


def growth(turns: int = TURNS) -> Result:
    """The exponent of a grey image's cost in its number of pixels."""
    models = [model_of(gated((1, side, side), 1), BernoulliHead()) for side in SIDES]
    pixels = [math.log(side * side) for side in SIDES]
    slopes = []
    for turn in range(turns + 1):
        cost = [math.log(cached(model)) for model in models]
        if turn:
            slopes.append(statistics.linear_regression(pixels, cost).slope)
    detail = f"Gated PixelCNN, {NUM_IMAGES} images, sides {', '.join(map(str, SIDES))}"
    return summarise("pixel_sampling_growth", slopes, 1.0, detail)


def row(name: str, make: Callable[[], AutoregressiveModel], size: str, times: int) -> Result:
    """Measure one network, whose size the row tells."""
    model = make()
    detail = (
        f"{type(model.network).__name__} of {size}, {model.event_shape}, {NUM_IMAGES} images, "
        f"{torch.get_num_threads()} threads; "
        f"naive timed on {NAIVE_CELLS} of {model.network.num_cells} cells and scaled; goal: {times} times faster"
    )
    return compare(f"pixel_sampling_{name}", partial(cached, model), partial(naive, model), 1 / times, detail, TURNS)


def results() -> Iterator[Result]:
    """A row a network, and the growth."""
    layers = "15 layers of 64 channels"
    yield row("gated_28x28x1", lambda: model_of(gated((1, 28, 28), 1), BernoulliHead()), layers, 100)
    yield row("gated_32x32x3", lambda: model_of(gated((3, 32, 32), 256), CategoricalHead(256)), layers, 150)
    head = PixelLogisticMixtureHead(10, 3)
    plusplus = lambda: PixelCNNpp((3, 32, 32), head.params_per_output, num_filters=64)  # noqa: E731
    yield row("pixelcnnpp_32x32x3", lambda: model_of(plusplus(), head), "64 filters (the paper: 160)", 100)
    yield growth()
