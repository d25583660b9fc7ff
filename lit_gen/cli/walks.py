"""``lit-gen sample --interpolate`` and ``--arithmetic``: walks between latents, and sums of averaged ones."""

import argparse
import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.pictures import image_grid, picture_of
from lit_gen.callbacks.scatter import scatter
from lit_gen.cli.sample import draw
from lit_gen.errors import UserError
from lit_gen.latent_walks import lerp, path_length, slerp
from lit_gen.protocols import FromLatents
from lit_gen.randomness import derive_seed, seeded

WALKS = {"lerp": lerp, "slerp": slerp}

NUM_VARIATIONS = 8
"""Pictures around a sum, which stands in the middle of three by three."""

VARIATION = 0.25
"""How far a variation's coordinates lie from the sum's at most: Radford et al. (2016), Fig. 7."""

_LIST = r"[0-9]{1,18}(?:\s*,\s*[0-9]{1,18})*"
_SUM = re.compile(rf"\s*[+-]?\s*{_LIST}(?:\s*[+-]\s*{_LIST})*\s*")


class Term(NamedTuple):
    """A term of a sum of averages.

    Attributes:
        sign: 1 or -1.
        numbers: of the samples that are averaged, from 0.
    """

    sign: int
    numbers: list[int]


class Drawn(NamedTuple):
    """What the verb writes and says.

    Attributes:
        samples: (N, *event_shape) in the order in which a folder numbers them.
        arrays: what an .npz holds.
        picture: makes the picture.
        told: what they are, in words.
    """

    samples: Tensor
    arrays: dict[str, Tensor]
    picture: Callable[[], Image.Image]
    told: str


def parse(expression: str) -> list[Term]:
    """The terms of ``"0,1,2 - 3,4,5 + 6,7,8"``.

    Raises:
        UserError: it isn't lists of numbers with signs between them.
    """
    if not _SUM.fullmatch(expression):
        raise UserError(
            f"--arithmetic={expression!r} is no sum of samples: write lists of their numbers with + and - between "
            'them, as "0,1,2 - 3,4,5 + 6,7,8"'
        )
    found = re.findall(rf"([+-]?)\s*({_LIST})", expression)
    return [Term(-1 if sign == "-" else 1, [int(n) for n in numbers.split(",")]) for sign, numbers in found]


def walks_of(options: argparse.Namespace) -> Callable[[FromLatents], Drawn]:
    """What to do with the model; what the options say is checked before.

    Raises:
        UserError: a malformed sum. The function raises it for a model without latents and for numbers beyond the
            samples'.
    """
    if options.interpolate is not None:
        return lambda model: interpolate(_checked(model, "--interpolate"), options)
    terms = parse(options.arithmetic)
    return lambda model: arithmetic(_checked(model, "--arithmetic"), terms, options)


def _checked(model, option: str) -> FromLatents:
    if not isinstance(model, FromLatents):
        raise UserError(f"{option} needs a model whose samples are a function of latents; {type(model).__name__} isn't")
    return model


def _latents(model: FromLatents, num: int, options: argparse.Namespace) -> Tensor:
    """(num, Z): those of the samples that ``lit-gen sample --num num`` draws, in its batches, from its seeds."""
    return draw(model.draw_latents, num, options.seed, options.batch_size, model.device)


def _decode(model: FromLatents, z: Tensor, options: argparse.Namespace) -> Tensor:
    """(N, Z) -> (N, *event_shape) on the CPU."""
    with torch.no_grad(), seeded(derive_seed(options.seed, "walk"), model.device):
        parts = [model.from_latents(part.to(model.device)).float().cpu() for part in z.split(options.batch_size)]
    return torch.cat(parts)


def interpolate(model: FromLatents, options: argparse.Namespace) -> Drawn:
    """Walks between neighbours among twice as many draws from the prior: the first and second, and so on."""
    ends = _latents(model, 2 * options.num, options)
    z = WALKS[options.interpolate](ends[0::2], ends[1::2], torch.linspace(0, 1, options.steps))  # (N, T, Z)
    samples = _decode(model, z.flatten(0, 1), options)
    rows = samples.unflatten(0, z.shape[:2])
    lengths = path_length(rows)

    def picture() -> Image.Image:
        if samples.dim() == 2:
            return _points(samples, torch.arange(options.num).repeat_interleave(options.steps), [])
        return picture_of(samples, options.steps)

    told = (
        f"{options.num} walks ({options.interpolate}) of {options.steps} steps, of length {lengths.mean():.4g} in the "
        f"mean: {', '.join(f'{length:.4g}' for length in lengths.tolist())}"
    )
    return Drawn(samples, {"samples": rows, "latents": z, "path_length": lengths}, picture, told)


def arithmetic(model: FromLatents, terms: list[Term], options: argparse.Namespace) -> Drawn:
    """The signed sum of averaged latents, and variations of it.

    Radford, Metz & Chintala (2016), Section 6.3.2, https://arxiv.org/abs/1511.06434.
    """
    beyond = [number for term in terms for number in term.numbers if number >= options.num]
    if beyond:
        raise UserError(
            f"--arithmetic: there is no sample {beyond[0]} among --num={options.num}, which are 0 to {options.num - 1}"
        )
    latents = _latents(model, options.num, options)
    averages = torch.stack([latents[term.numbers].mean(0) for term in terms])  # (terms, Z)
    total = sum(term.sign * average for term, average in zip(terms, averages, strict=True))
    with seeded(derive_seed(options.seed, "variations"), torch.device("cpu")):
        noise = VARIATION * (2 * torch.rand(NUM_VARIATIONS, len(total)) - 1)
    z = torch.cat([total[None], total + noise])
    members = [_decode(model, latents[term.numbers], options) for term in terms]
    samples, of_averages = _decode(model, z, options), _decode(model, averages, options)

    def picture() -> Image.Image:
        if samples.dim() == 2:
            return _sum_of_points(terms, members, samples)
        return sum_picture(members, of_averages, samples)

    told = f"{options.arithmetic.strip()}, and {NUM_VARIATIONS} variations within {VARIATION:g} of each coordinate"
    return Drawn(samples, {"samples": samples, "averages": of_averages, "latents": z}, picture, told)


def sum_picture(members: list[Tensor], averages: Tensor, samples: Tensor) -> Image.Image:
    """A row a term: its samples, and at the right end what their average gives. Then the sum amid its variations.

    Args:
        members: (M_k, C, H, W) samples of each term.
        averages: (terms, C, H, W).
        samples: (1 + NUM_VARIATIONS, C, H, W), the sum first.
    """
    width = max(3, 1 + max(len(x) for x in members))
    white = torch.ones_like(samples[:1])

    def filled(row: Tensor, last: Tensor) -> Tensor:
        return torch.cat([row, white.expand(width - len(row) - len(last), *white.shape[1:]), last])

    rows = [filled(x, average[None]) for x, average in zip(members, averages, strict=True)]
    block = torch.cat([samples[1:5], samples[:1], samples[5:]])  # three by three, the sum in the middle
    rows += [filled(row, white[:0]) for row in block.split(3)]
    return image_grid(torch.cat(rows), width)


def _sum_of_points(terms: list[Term], members: list[Tensor], samples: Tensor) -> Image.Image:
    sizes = [*(len(x) for x in members), 1, len(samples) - 1]
    names = [f"{'-' if term.sign < 0 else '+'} {','.join(map(str, term.numbers))}" for term in terms]
    label = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return _points(torch.cat([*members, samples]), label, [*names, "sum", "variations"])


def _points(points: Tensor, label: Tensor, names: list[str]) -> Image.Image:
    """Points of the plane in the colours of their classes; raises as ``picture_of`` of points that aren't."""
    return scatter(points, label=label, names=names) if points.shape[1] == 2 else picture_of(points)
