"""The partition function of a restricted Boltzmann machine: by annealed importance sampling, and by enumeration."""

from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

LARGEST_LAYER = 20
"""Binary units whose states ``exact_log_partition`` enumerates."""

_CHUNK = 2**12


class Layer(Protocol):
    """Independent units given their inputs; see ``lit_gen.distributions.units.Units`` for what each method gives."""

    bias: Tensor
    num_units: int

    def statistic(self, x: Tensor) -> Tensor: ...

    def log_normalizer(self, inputs: Tensor) -> Tensor: ...

    def sample(self, inputs: Tensor) -> Tensor: ...


@runtime_checkable
class Enumerable(Protocol):
    """A layer whose states can be counted."""

    num_states: int

    def states(self, first: int, last: int) -> Tensor: ...


@runtime_checkable
class BoltzmannMachine(Protocol):
    """Two layers and what couples them: E(v, h) = -log base(v) - log base(h) - b's(v) - c's(h) - s(h)'W s(v)."""

    visible: Layer
    hidden: Layer
    weight: Tensor
    """W, (H, D)."""

    def free_energy(self, v: Tensor) -> Tensor:
        """(B, D) -> (B,), -log of the sum or integral of exp(-E(v, h)) over h."""

    def visible_state(self, x: Tensor) -> Tensor:
        """Examples (B, *event_shape) -> visible states (B, D)."""


class LogPartition(NamedTuple):
    """An estimate of log Z, in nats.

    Attributes:
        value: scalar, float64.
        standard_error: scalar, by the delta method from the spread of the chains' weights.
    """

    value: Tensor
    standard_error: Tensor


@torch.no_grad()
def ais_log_weights(machine: BoltzmannMachine, base_bias: Tensor, temperatures: Tensor, num_chains: int) -> Tensor:
    """Log importance weights of ``num_chains`` independent chains, (num_chains,); E[exp(w)] = Z.

    Summed in float64; each temperature's term is computed in the machine's own precision.

    Salakhutdinov & Murray, On the Quantitative Analysis of Deep Belief Networks (2008), Eqs. 11-17,
    https://doi.org/10.1145/1390156.1390266. The machine at inverse temperature t has weights t W, hidden biases t c
    and visible biases (1 - t) base + t b; at t = 0 its units are independent and its Z is known.

    Args:
        base_bias: (D,), visible biases at t = 0; the nearer p(v) is to the model's, the fewer temperatures are needed.
        temperatures: (K + 1,) rising from 0 to 1.
        num_chains: number of chains, each with states drawn from torch's global generator.
    """
    visible, hidden, weight = machine.visible, machine.hidden, machine.weight
    slope = visible.bias - base_bias
    v = visible.sample(base_bias.expand(num_chains, -1))
    nothing = torch.zeros(hidden.num_units, device=base_bias.device, dtype=base_bias.dtype)
    log_weights = (visible.log_normalizer(base_bias) + hidden.log_normalizer(nothing)).double().repeat(num_chains)
    for before, after in pairwise(temperatures.tolist()):
        s = visible.statistic(v)
        inputs = torch.addmm(hidden.bias, s, weight.T)
        # log p*(v) at the next temperature less that at this one, Eq. 11; the base of v cancels.
        log_weights += hidden.log_normalizer(after * inputs).double() - hidden.log_normalizer(before * inputs).double()
        log_weights += (after - before) * (s @ slope).double()
        h = hidden.sample(after * inputs)
        own = base_bias + after * slope
        v = visible.sample(torch.addmm(own, hidden.statistic(h), weight, alpha=after))
    return log_weights


def log_partition(log_weights: Tensor) -> LogPartition:
    """The estimate of log Z from AIS's weights (N,), N >= 2: log of their mean.

    The mean is unbiased for Z, so its logarithm is on average too low, and a likelihood by it too high.
    """
    count = len(log_weights)
    largest = log_weights.max()
    weights = (log_weights - largest).exp()
    mean = weights.mean()
    return LogPartition(largest + mean.log(), weights.std() / mean / count**0.5)


def can_enumerate(machine: BoltzmannMachine) -> bool:
    """Whether one layer is binary and has at most ``LARGEST_LAYER`` units."""
    return _layer_to_enumerate(machine) is not None


def _layer_to_enumerate(machine: BoltzmannMachine) -> Layer | None:
    binary = [layer for layer in (machine.hidden, machine.visible) if isinstance(layer, Enumerable)]
    smallest = min(binary, key=lambda layer: layer.num_units, default=None)
    return None if smallest is None or smallest.num_units > LARGEST_LAYER else smallest


@torch.no_grad()
def exact_log_partition(machine: BoltzmannMachine) -> Tensor:
    """log Z, a float64 scalar: the other layer is summed out for each state of a binary layer.

    Raises:
        ValueError: no layer is binary and small enough, see ``can_enumerate``.
    """
    layer = _layer_to_enumerate(machine)
    if layer is None:
        raise ValueError(f"enumeration needs a binary layer of at most {LARGEST_LAYER} units")
    other = machine.visible if layer is machine.hidden else machine.hidden
    weight = (machine.weight if layer is machine.hidden else machine.weight.T).double()
    parts = []
    for first in range(0, layer.num_states, _CHUNK):
        states = layer.states(first, min(first + _CHUNK, layer.num_states))
        inputs = other.bias.double() + states @ weight
        parts.append((states @ layer.bias.double() + other.log_normalizer(inputs)).logsumexp(0))
    return torch.stack(parts).logsumexp(0)
