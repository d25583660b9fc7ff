"""``lit-gen sample --interpolate`` and ``--arithmetic``: walks between latents, and sums of averaged ones."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.pictures import image_grid, picture_of
from lit_gen.callbacks.scatter import scatter
from lit_gen.cli.sample import draw
from lit_gen.cli.sample_progress import check_memory
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
        title: of the picture, before the name of what it was drawn from.
        legend: what the picture's labels mean.
    """

    samples: Tensor
    arrays: dict[str, Tensor]
    picture: Callable[[], Image.Image]
    told: str
    title: str
    legend: str


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


def _check_memory(model: FromLatents, num_latents: int, num_samples: int, options: argparse.Namespace) -> None:
    """Refuse walks that don't fit in memory, where they are held whole, as far as one sample tells."""
    z = draw(model.draw_latents, 1, options.seed, 1, model.device)
    num_bytes = 4 * (2 * num_latents * z[0].numel() + 3 * num_samples * _decode(model, z, options)[0].numel())
    steps = "" if options.interpolate is None else f" and --steps={options.steps}"
    check_memory(num_bytes, f"--num={options.num}{steps}", "ask for fewer")


def _decode(model: FromLatents, z: Tensor, options: argparse.Namespace) -> Tensor:
    """(N, Z) -> (N, *event_shape) on the CPU."""
    with torch.no_grad(), seeded(derive_seed(options.seed, "walk"), model.device):
        parts = [model.from_latents(part.to(model.device)).float().cpu() for part in z.split(options.batch_size)]
    return torch.cat(parts)


def interpolate(model: FromLatents, options: argparse.Namespace) -> Drawn:
    """Walks between neighbours among twice as many draws from the prior: the first and second, and so on."""
    _check_memory(model, 2 * options.num, options.num * options.steps, options)
    ends = _latents(model, 2 * options.num, options)
    z = WALKS[options.interpolate](ends[0::2], ends[1::2], torch.linspace(0, 1, options.steps))  # (N, T, Z)
    samples = _decode(model, z.flatten(0, 1), options)
    rows = samples.unflatten(0, z.shape[:2])
    lengths = path_length(rows)

    def picture() -> Image.Image:
        if samples.dim() == 2:
            return _points(samples, torch.arange(options.num).repeat_interleave(options.steps), [])
        names = [f"walk {n}: {2 * n} to {2 * n + 1}\nlength {length:.3g}" for n, length in enumerate(lengths.tolist())]
        shares = [f"{t:.2g}" for t in torch.linspace(0, 1, options.steps).tolist()]
        return picture_of(samples, options.steps, rows=names, columns=shares, scale=options.out.scale)

    told = (
        f"{options.num} walks ({options.interpolate}) of {options.steps} steps, of length {lengths.mean():.4g} in the "
        f"mean: {', '.join(f'{length:.4g}' for length in lengths.tolist())}"
    )
    legend = "on the left: the walk's number, the samples that it joins, its length; above: share of the way"
    arrays = {"samples": rows, "latents": z, "path_length": lengths}
    return Drawn(samples, arrays, picture, told, f"{options.num} walks ({options.interpolate})", legend)


def arithmetic(model: FromLatents, terms: list[Term], options: argparse.Namespace) -> Drawn:
    """The signed sum of averaged latents, and variations of it.

    Radford, Metz & Chintala (2016), Section 6.3.2, https://arxiv.org/abs/1511.06434.
    """
    beyond = [number for term in terms for number in term.numbers if number >= options.num]
    if beyond:
        raise UserError(
            f"--arithmetic: there is no sample {beyond[0]} among --num={options.num}, which are 0 to {options.num - 1}"
        )
    _check_memory(model, options.num, sum(len(term.numbers) for term in terms), options)
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
        return sum_picture(members, of_averages, samples, [_name(term) for term in terms], options.out.scale)

    told = f"{options.arithmetic.strip()}, and {NUM_VARIATIONS} variations within {VARIATION:g} of each coordinate"
    arrays = {"samples": samples, "averages": of_averages, "latents": z}
    legend = "a row a term: its samples, at the right end what their average gives; below: the sum amid its variations"
    return Drawn(samples, arrays, picture, told, options.arithmetic.strip(), legend)


def sum_picture(
    members: list[Tensor], averages: Tensor, samples: Tensor, names: Sequence[str] = (), scale: int | None = None
) -> Image.Image:
    """A row a term: its samples, and at the right end what their average gives. Then the sum amid its variations.

    Args:
        members: (M_k, C, H, W) samples of each term.
        averages: (terms, C, H, W).
        samples: (1 + NUM_VARIATIONS, C, H, W), the sum first.
        names: of the terms.
        scale: see ``image_grid``.
    """
    width = max(3, 1 + max(len(x) for x in members))
    white = torch.ones_like(samples[:1])

    def filled(row: Tensor, last: Tensor) -> Tensor:
        return torch.cat([row, white.expand(width - len(row) - len(last), *white.shape[1:]), last])

    rows = [filled(x, average[None]) for x, average in zip(members, averages, strict=True)]
    block = torch.cat([samples[1:5], samples[:1], samples[5:]])  # three by three, the sum in the middle
    rows += [filled(row, white[:0]) for row in block.split(3)]
    labels = [*names, "", "sum, in\nthe middle", ""] if names else []
    columns = ["samples", *[""] * (width - 2), "average"] if names else []
    return image_grid(torch.cat(rows), width, rows=labels, columns=columns, scale=scale)


def _sum_of_points(terms: list[Term], members: list[Tensor], samples: Tensor) -> Image.Image:
    sizes = [*(len(x) for x in members), 1, len(samples) - 1]
    names = [_name(term) for term in terms]
    label = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return _points(torch.cat([*members, samples]), label, [*names, "sum", "variations"])


def _name(term: Term) -> str:
    return f"{'-' if term.sign < 0 else '+'} {','.join(map(str, term.numbers))}"


def _points(points: Tensor, label: Tensor, names: list[str]) -> Image.Image:
    """Points of the plane in the colours of their classes; raises as ``picture_of`` of points that aren't."""
    return scatter(points, label=label, names=names) if points.shape[1] == 2 else picture_of(points)
