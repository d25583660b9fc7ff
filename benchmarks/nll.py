"""What a likelihood of K = 5000 samples costs beside the bare matrix products of its decoder.

Ours is what the callback ``Likelihood`` does with every example, ``compiled`` or not: encoding, draws, densities,
decoding, the likelihood and the sum of the weights. The other side multiplies codes by the decoder's weight matrices
into tensors that lie ready, as many rows at once as our uncompiled side decodes, which a CPU does faster than a whole
chunk, and does nothing else: no bias, no activation.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from benchmarks.harness import Result, compare
from lit_gen.callbacks.compiled_weights import compiled_weights
from lit_gen.callbacks.likelihood import Likelihood, estimate_log_px
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.freed_memory import keep_freed_memory
from lit_gen.models.vaes.base import CPU_ROWS
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.layers.tanh import Tanh
from lit_gen.networks.mlp import MLP
from lit_gen.protocols import ImportanceWeights

GOAL = 1.5
NUM_EXAMPLES = 20
NUM_SAMPLES = 5000
IMAGE = (1, 28, 28)


def build() -> VAE:
    """The model of conf/vaes/vae_mnist.yaml, 784-200-200-50, before training: the cost is that of any weights."""
    encoder = MLP(IMAGE, 50, [200, 200], Tanh, params_per_output=2)
    return VAE(encoder, MLP(50, IMAGE, [200, 200], Tanh), NormalHead(), BernoulliHead(), StandardNormal(50)).eval()


@torch.no_grad()
def score(model: ImportanceWeights, x: torch.Tensor, chunk_size: int, clock: Callable[[], float]) -> float:
    """Our side."""
    began = clock()
    estimate_log_px(model, x, range(len(x)), NUM_SAMPLES, chunk_size, seed=0)
    return clock() - began


@torch.no_grad()
def multiply(model: VAE, num_examples: int, num_rows: int, clock: Callable[[], float]) -> float:
    """The other side."""
    weights = [layer.weight.T for layer in model.decoder.layers if isinstance(layer, nn.Linear)]
    z = torch.randn(num_rows, len(weights[0]))
    products = [torch.empty(num_rows, weight.shape[1]) for weight in weights]
    began = clock()
    for _ in range(num_examples * NUM_SAMPLES // num_rows):
        h = z
        for weight, product in zip(weights, products, strict=True):
            h = torch.mm(h, weight, out=product)
    return clock() - began


def results() -> Iterator[Result]:
    """Wall seconds with torch's own number of threads, and CPU seconds with one; compiling counts in neither."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    model, x, chunk_size = build(), torch.rand(NUM_EXAMPLES, *IMAGE).round(), Likelihood().chunk_size
    sides = {"": model, "_compiled": compiled_weights(model, x.device)}
    for suffix, clock, num_threads in (("", time.perf_counter, threads), ("_cpu", time.process_time, 1)):
        torch.set_num_threads(num_threads)
        for how, side in sides.items():
            yield compare(
                f"nll_k{NUM_SAMPLES}{how}{suffix}",
                partial(score, side, x, chunk_size, clock),
                partial(multiply, model, NUM_EXAMPLES, CPU_ROWS, clock),
                GOAL,
                f"{NUM_EXAMPLES} images, chunks of {chunk_size}, {num_threads} threads",
            )
    torch.set_num_threads(threads)
