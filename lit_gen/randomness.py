"""Random numbers that know what they are for.

Every stream of noise is named by what determines it (the run's seed, the rank, the step, the purpose), so nothing has
to be saved for a resumed run to draw what the unbroken one would have drawn, and nothing that one stream draws can
shift another: evaluating more often doesn't change the training.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def run_seed() -> int:
    """The run's seed: what ``seed_everything`` was last given, 0 if it never was."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def derive_seed(*words: int | str) -> int:
    """A seed in [0, 2^63) that depends on every word and on their order, the same on every machine.

    >>> derive_seed(7, "train", 3) == derive_seed(7, "train", 3) != derive_seed(7, "train", 4)
    True
    """
    digest = hashlib.blake2b("\0".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def make_generator(*words: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own on ``device``, seeded by ``derive_seed(*words)``."""
    return torch.Generator(device).manual_seed(derive_seed(*words))


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of ``device``, and nothing else.

    ``torch.manual_seed`` also reaches every other accelerator, which formats a stack trace at each call while CUDA is
    not initialised: too slow for once a step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def random_state(device: torch.device) -> tuple[Tensor, ...]:
    """The states of torch's global generators of the CPU and, where it is another, of ``device``."""
    cpu = torch.default_generator.get_state()
    return (cpu,) if device.type == "cpu" else (cpu, torch.get_device_module(device).get_rng_state(device))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within the block torch's global generators start from ``seed``; afterwards they go on as if it had not been."""
    cpu, *other = random_state(device)
    seed_torch(seed, device)
    try:
        yield
    finally:
        torch.default_generator.set_state(cpu)
        for state in other:
            torch.get_device_module(device).set_rng_state(state, device)
