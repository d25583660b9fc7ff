"""Evaluation steps whose noise belongs to the examples, not to the batches that they happen to come in.

A validation loss that draws z once an example would otherwise be another number at another batch size or number of
processes, and the checkpoint that it chooses another one. Here every draw within an evaluation step is cut along the
batch's dimension, and the part of each example is a function of the seed, the example's number (``Batch.index``), the
number of the draw within the step and the place within the part: a generator that counts, so that no part depends on
which others are drawn.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lit_gen.protocols import Batch
from lit_gen.randomness import derive_seed, random_state, seed_torch

_TRIAL_ROWS = (12, 24)
"""Sizes of the two batches that tell which dimension of a draw is the batch's; packs of 2, 3 and 4 divide them."""

_PRECISION = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}

_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def _shifted(bits: Tensor, places: int) -> Tensor:
    """A shift to the right that fills up with zeros, also of negative numbers."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def mixed(state: Tensor) -> Tensor:
    """int64 -> 64 bits each, elementwise; overwrites the argument.

    The output function of SplitMix64: Steele, Lea & Flood, Fast Splittable Pseudorandom Number Generators (2014),
    Section 4 (variant 13 of its mixers), https://doi.org/10.1145/2660193.2660195
    """
    shifted = torch.empty_like(state)  # one for all: fresh memory of this size costs as much as the arithmetic
    for places, factor in ((30, _FIRST), (27, _SECOND), (31, None)):
        torch.bitwise_right_shift(state, places, out=shifted)
        state ^= shifted.bitwise_and_((1 << (64 - places)) - 1)
        if factor is not None:
            state *= factor
    return state


class ExampleBits(NamedTuple):
    """Where the random bits of one draw come from.

    Attributes:
        index: (B,) int64, the examples' numbers.
        seed: in [0, 2^63): of this draw.
        num_blocks: K, parts that each example has.
        width: numbers in a part.
    """

    index: Tensor
    seed: int
    num_blocks: int
    width: int

    def draw(self, width: int | None = None) -> Tensor:
        """(K, B, width) int64 random bits, of which an example's are a function of its number and the seed."""
        width = self.width if width is None else width
        keys = mixed(mixed(self.index * _GAMMA + self.seed))
        places = torch.arange(self.num_blocks * width, device=keys.device).mul_(_GAMMA)
        return mixed(keys.view(1, -1, 1) + places.view(self.num_blocks, 1, width))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, B, width)."""
        return self.num_blocks, len(self.index), self.width


def uniform(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """64 bits each -> uniform numbers in [0, 1), multiples of 2^-24 (of 2^-53, 2^-11, 2^-8 for other precisions)."""
    places = _PRECISION.get(dtype, 24)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return _shifted(bits, 64 - places).to(wide).mul_(2.0**-places)


def _half_uniform(bits: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """64 bits each -> two independent uniform numbers in (0, 1], of 32 bits each."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return tuple(half.to(wide).add_(0.5).mul_(2.0**-32) for half in (_shifted(bits, 32), bits & 0xFFFFFFFF))


def standard_exponential(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """64 bits each -> exponential variables of mean 1, in [0, 22.9]."""
    return _half_uniform(bits, dtype)[0].log_().neg_()


def standard_normal(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """(..., W) of 64 bits each -> (..., 2 W) standard normal variables, within 6.8 deviations.

    Box & Muller, A Note on the Generation of Random Normal Deviates (1958), https://doi.org/10.1214/aoms/1177706645
    """
    radius, angle = _half_uniform(bits, dtype)
    radius.log_().mul_(-2.0).sqrt_()
    angle.mul_(2 * math.pi)
    return torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], -1)


def _normals(source: ExampleBits, dtype: torch.dtype) -> Tensor:
    return standard_normal(source.draw(-(-source.width // 2)), dtype)[..., : source.width]


def _argument(args: Sequence, kwargs: Mapping[str, Any], place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _randint(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor:
    bounds = [value for value in args if isinstance(value, int)]
    high = kwargs.get("high", bounds[-1] if bounds else None)
    low = kwargs.get("low", bounds[0] if len(bounds) > 1 else 0)
    wide = torch.float32 if source.index.device.type == "mps" else torch.float64
    return low + (uniform(source.draw(), wide) * (high - low)).floor()


def _multinomial(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor | None:
    """By the inverse of the distribution function, from one row of weights."""
    weights = args[0] if args else kwargs["input"]
    if weights.dim() != 1 or not _argument(args, kwargs, 2, "replacement", False):
        return None
    below = weights.cumsum(0)
    chosen = torch.searchsorted(below, uniform(source.draw(), below.dtype).to(below.dtype) * below[-1], right=True)
    return chosen.clamp_max(weights.nonzero().max())


def _bernoulli(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor:
    return uniform(source.draw(), drawn.dtype) < (args[0] if args else kwargs["input"]).reshape(source.shape)


def _bernoulli_in_place(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor:
    probability = _argument(args, kwargs, 1, "p", 0.5)
    if isinstance(probability, Tensor):
        probability = probability.expand(drawn.shape).reshape(source.shape)
    return uniform(source.draw(), drawn.dtype) < probability


def _normal(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor:
    mean, std = _argument(args, kwargs, 0, "mean", 0.0), _argument(args, kwargs, 1, "std", 1.0)
    mean, std = (
        part.expand(drawn.shape).reshape(source.shape) if isinstance(part, Tensor) else part for part in (mean, std)
    )
    return mean + std * _normals(source, drawn.dtype)


def _normal_in_place(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor:
    mean, std = _argument(args, kwargs, 1, "mean", 0.0), _argument(args, kwargs, 2, "std", 1.0)
    return mean + std * _normals(source, drawn.dtype)


def _uniform_in_place(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor:
    low, high = _argument(args, kwargs, 1, "from", 0.0), _argument(args, kwargs, 2, "to", 1.0)
    return low + (high - low) * uniform(source.draw(), drawn.dtype)


def _exponential_in_place(source: ExampleBits, drawn: Tensor, args: Sequence, kwargs: Mapping[str, Any]) -> Tensor:
    return standard_exponential(source.draw(), drawn.dtype) / _argument(args, kwargs, 1, "lambd", 1.0)


_MAKERS: dict[str, Callable[[ExampleBits, Tensor, Sequence, Mapping[str, Any]], Tensor | None]] = {
    "randn": lambda source, drawn, args, kwargs: _normals(source, drawn.dtype),
    "randn_like": lambda source, drawn, args, kwargs: _normals(source, drawn.dtype),
    "rand": lambda source, drawn, args, kwargs: uniform(source.draw(), drawn.dtype),
    "rand_like": lambda source, drawn, args, kwargs: uniform(source.draw(), drawn.dtype),
    "normal": _normal,
    "normal_": _normal_in_place,
    "uniform_": _uniform_in_place,
    "exponential_": _exponential_in_place,
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli_in_place,
    "randint": _randint,
    "multinomial": _multinomial,
}
"""Torch's draws that can be made of an example's own bits: each gives the values, (K, B, width) as the source has them,
or None where this use of it can't be."""


class Draw(NamedTuple):
    """One call of a random function within a step.

    Attributes:
        name: of the function.
        shape: of what it gave.
    """

    name: str
    shape: tuple[int, ...]


class Layout(NamedTuple):
    """How a draw lies about the batch's dimension.

    Attributes:
        name: of the function.
        dim: the batch's dimension, or one that all draws and examples share, draws first; None where no dimension
            grows with the batch: one draw for all examples.
        event: sizes of the dimensions after it.
    """

    name: str
    dim: int | None
    event: tuple[int, ...]


def layout_of(small: Draw, large: Draw) -> Layout | None:
    """The layout of a draw that was made for 12 and for 24 examples; None where it has none."""
    if small.name != large.name or len(small.shape) != len(large.shape):
        return None
    grown = [dim for dim, sizes in enumerate(zip(small.shape, large.shape, strict=True)) if sizes[0] != sizes[1]]
    if not grown:
        return Layout(small.name, None, small.shape)
    dim, (few, many) = grown[0], _TRIAL_ROWS
    if len(grown) > 1 or small.shape[dim] * many != large.shape[dim] * few or small.shape[dim] % few:
        return None
    return Layout(small.name, dim, small.shape[dim + 1 :])


def _name_of_draw(func: Callable, kwargs: Mapping[str, Any] | None) -> str | None:
    """The name of a function that draws from torch's global generator; None for any other."""
    name = getattr(func, "__name__", "")
    if name not in _MAKERS or isinstance(func, FunctionType) or (kwargs and kwargs.get("generator") is not None):
        return None
    return name


class _Recording(TorchFunctionMode):
    """Notes the draws, and whether there were others that it can't see."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.draws: list[Draw] = []
        self.sees_all = True
        self._device = device

    def __enter__(self) -> "_Recording":
        self._state = random_state(self._device)
        return super().__enter__()

    def __exit__(self, *details) -> None:
        super().__exit__(*details)
        self._note_others()

    def _note_others(self) -> None:
        state = random_state(self._device)
        self.sees_all &= all(torch.equal(a, b) for a, b in zip(state, self._state, strict=True))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = _name_of_draw(func, kwargs)
        if name is None:
            return func(*args, **(kwargs or {}))
        self._note_others()
        result = func(*args, **(kwargs or {}))
        self.draws.append(Draw(name, tuple(result.shape)))
        self._state = random_state(self._device)
        return result


class _UnknownDrawError(Exception):
    """A step draws what it didn't when its draws were noted."""


class _ByExample(TorchFunctionMode):
    """Makes the draws of a step, whose layouts are known, of the examples' own bits."""

    def __init__(self, index: Tensor, seed: int, layouts: Sequence[Layout]) -> None:
        super().__init__()
        self._index = index
        self._seed = seed
        self._layouts = layouts
        self._number = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, kwargs = _name_of_draw(func, kwargs), kwargs or {}
        if name is None:
            return func(*args, **kwargs)
        seed, number = derive_seed(self._seed, self._number), self._number
        self._number += 1
        layout = self._layouts[number] if number < len(self._layouts) else None
        if layout is None or layout.name != name:
            raise _UnknownDrawError
        if layout.dim is None:
            seed_torch(seed, self._index.device)
            return func(*args, **kwargs)
        drawn = func(*args, **kwargs)  # for its shape, kind and device; its values don't stay
        num, width = len(self._index), math.prod(layout.event)
        if tuple(drawn.shape[layout.dim + 1 :]) != layout.event or drawn.numel() % (num * width):
            raise _UnknownDrawError
        source = ExampleBits(self._index.to(drawn.device), seed, drawn.numel() // (num * width), width)
        values = _MAKERS[name](source, drawn, args, kwargs)
        if values is None:
            raise _UnknownDrawError
        return drawn.copy_(values.view(drawn.shape))


class NoiseByExample:
    """Runs one evaluation step of a model, its noise tied to the examples' numbers.

    Which dimension of a draw is the batch's can't be read off one shape: ten draws for ten examples look like ten
    variables each. So the first batch of a step that draws is tried with 12 and then with 24 of its rows, and each
    draw's dimension is the one that grows. Where draws and examples share a dimension, the draws come first: row
    k * B + b is the k-th of example b. A draw that doesn't grow with the batch is the same for all batches.

    Torch's Python functions that draw within themselves, such as ``F.gumbel_softmax``, and draws that have no layout,
    such as ``torch.randperm``, can't be tied: ``is_tied`` is False then, and the noise is the batch's, as it was.
    """

    def __init__(self) -> None:
        self.draws = False
        """Whether the step has drawn anything."""
        self.is_tied = True
        """Whether all that it draws is tied to the examples."""
        self._layouts: list[Layout] | None = None

    def run(self, step: Callable[[Batch], Any], batch: Batch, seed: int) -> Any:
        """What ``step`` gives of the batch, whose ``index`` holds each example's number; ``seed`` names the noise."""
        if self._layouts is None:
            with _Recording(batch.index.device) as recording:
                result = step(batch)
            self.draws = bool(recording.draws) or not recording.sees_all
            self.is_tied = recording.sees_all
            self._layouts = []
            if not (self.draws and self.is_tied):
                return result
            self._learn(step, batch)
        if not self.is_tied:
            return step(batch)
        try:
            return self._run_tied(step, batch, seed)
        except _UnknownDrawError:
            self.draws = True
            self._learn(step, batch)
        try:
            return self._run_tied(step, batch, seed) if self.is_tied else step(batch)
        except _UnknownDrawError:
            self.is_tied = False
            return step(batch)

    def _run_tied(self, step: Callable[[Batch], Any], batch: Batch, seed: int) -> Any:
        with _ByExample(batch.index, seed, self._layouts):
            return step(batch)

    def _learn(self, step: Callable[[Batch], Any], batch: Batch) -> None:
        recordings = []
        for num in _TRIAL_ROWS:
            rows = torch.arange(num, device=batch.index.device) % len(batch.index)
            with _Recording(batch.index.device) as recording:
                step(type(batch)(*(part[rows] if isinstance(part, Tensor) else part for part in batch)))
            recordings.append(recording)
        small, large = (recording.draws for recording in recordings)
        layouts = [layout_of(*pair) for pair in zip(small, large, strict=False)]
        self.is_tied = (
            len(small) == len(large) and None not in layouts and all(recording.sees_all for recording in recordings)
        )
        self._layouts = layouts if self.is_tied else []
