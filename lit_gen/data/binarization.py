"""Grey pixels made black or white, in the four ways the literature knows, none of them by accident.

A likelihood on binarized images means nothing without the way and the seed, so both are attributes of a data module
and are recorded with every figure.
"""

import difflib
import math

import numpy as np
import torch
from torch import Tensor

from lit_gen.data.loader import Place
from lit_gen.errors import UserError
from lit_gen.randomness import derive_seed, make_generator

BINARIZATIONS = ("none", "threshold", "fixed", "dynamic")
"""none: pixels stay grey. threshold: white from 0.5 on. fixed: every pixel is drawn once, white with probability equal
to its grey value, as in the public binarized MNIST (Larochelle & Murray 2011). dynamic: drawn afresh each time a
training example is handed out (Burda et al. 2016, https://arxiv.org/abs/1509.00519), while validation and test
examples are drawn once, so that a figure doesn't depend on how the set is cut into batches."""

_CHUNK = 1000  # images per draw: bounds the memory for noise; a part of what the seed means, so never change it


def check_binarization(name: str) -> str:
    """``name`` if it is one of ``BINARIZATIONS``.

    Raises:
        UserError: it isn't; names the nearest that is.
    """
    if name in BINARIZATIONS:
        return name
    near = difflib.get_close_matches(str(name).lower(), BINARIZATIONS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"Unknown binarization {name!r}: {hint}It is one of {', '.join(BINARIZATIONS)}.")


def _noise(shape: tuple[int, ...], device: torch.device, *words: int | str) -> Tensor:
    """Uniform int16 over its whole range. 16 bits a pixel and NumPy's SFC64 cost a tenth of ``torch.bernoulli``."""
    count = math.prod(shape)
    num_words = -(-count // 4)
    if device.type == "cpu":
        drawn = torch.from_numpy(np.random.SFC64(derive_seed(*words)).random_raw(num_words).view(np.int16))
    else:
        drawn = torch.empty(num_words, dtype=torch.int64, device=device)
        drawn = drawn.random_(-(2**63), None, generator=make_generator(*words, device=device)).view(torch.int16)
    return drawn[:count].view(shape)


def _bernoulli_(probability: Tensor, noise: Tensor) -> Tensor:
    """Replace each probability by 1 or 0. With k the noise in 0..65535 a pixel is 1 where (k + 1/2) / 65536 < p: off
    by at most 2^-17 in probability, exact at 0 and at 1."""
    return probability.mul_(65536.0).sub_(32768.5).gt_(noise)


class DynamicBinarization:
    """A fresh Bernoulli draw at each handing out, determined by the seeds and by the place in the stream.

    Noise is drawn for the joint batch of all ranks and each takes its share, so the joint batch is the same at any
    number of processes. A CPU and an accelerator draw different noise.
    """

    def __init__(self, *seeds: int | str) -> None:
        self.seeds = seeds

    def __call__(self, x: Tensor, place: Place) -> Tensor:
        """x: this rank's share (B, *event_shape) of a joint batch, float32 in [0, 1]; overwritten by its draw."""
        joint = (len(x) * place.world_size, *x.shape[1:])
        noise = _noise(joint, x.device, *self.seeds, "binarize", place.epoch, place.batch)
        return _bernoulli_(x, noise[place.rank :: place.world_size])


def threshold(x: Tensor) -> Tensor:
    """(N, ...) uint8 in {0, 255}: white where x >= 0.5. ``x`` is uint8 (255 stands for 1) or float in [0, 1]."""
    return (x >= (128 if x.dtype == torch.uint8 else 0.5)).to(torch.uint8).mul_(255)


def draw_once(x: Tensor, *seeds: int | str) -> Tensor:
    """(N, ...) uint8 in {0, 255}, one Bernoulli draw a pixel that depends on the seeds and on x alone.

    ``x`` is uint8 (255 stands for 1) or float in [0, 1], on the CPU.
    """
    out = torch.empty(x.shape, dtype=torch.uint8)
    for start in range(0, len(x), _CHUNK):
        chunk = x[start : start + _CHUNK]
        probability = chunk.to(torch.float32, copy=True)
        if x.dtype == torch.uint8:
            probability.div_(255)
        noise = _noise(tuple(chunk.shape), torch.device("cpu"), *seeds, "binarize once", start)
        out[start : start + _CHUNK] = _bernoulli_(probability, noise).mul_(255).to(torch.uint8)
    return out
