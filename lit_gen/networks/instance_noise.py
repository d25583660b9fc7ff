"""Noise on whatever a discriminator sees."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.networks.wrapper import Wrapper


class InstanceNoise(Wrapper):
    """A network that sees its inputs under independent N(0, std^2) noise in training, and as they are in evaluation.

    Real and generated examples get the same noise, so that their distributions overlap: Sønderby et al., Amortised MAP
    Inference for Image Super-resolution (2017), https://arxiv.org/abs/1610.04490; Arjovsky & Bottou,
    Towards Principled Methods for Training GANs (2017), Section 3, https://arxiv.org/abs/1701.04862

    Args:
        network: the discriminator.
        std: of the noise, in the units of the inputs (pixels in [0, 1], which the noise takes them out of); or a
            callable of the training step, as ``lit_gen.schedules.CosineAnnealing``.

    Raises:
        UserError: a std below 0.
    """

    def __init__(self, network: nn.Module, std: float | Callable[[int], float] = 0.1) -> None:
        super().__init__(network)
        self.schedule = std
        self.at_step(0)

    def at_step(self, step: int) -> None:
        """Take the std of a training step; the model calls it before each."""
        self.std = float(self.schedule(step) if callable(self.schedule) else self.schedule)
        if not self.std >= 0.0:
            raise UserError(f"InstanceNoise needs a std of 0 or more, got {self.std} at step {step}")

    def enter(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> the same with noise."""
        return x + self.std * torch.randn_like(x) if self.training and self.std > 0.0 else x
