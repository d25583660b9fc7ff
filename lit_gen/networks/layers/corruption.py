"""Noise that a denoising autoencoder is trained to see through; in evaluation each layer does nothing.

Vincent, Larochelle, Lajoie, Bengio & Manzagol, Stacked Denoising Autoencoders (2010), Section 3.3,
https://jmlr.org/papers/v11/vincent10a.html
"""

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError


def _check_probability(name: str, probability: float) -> float:
    if not 0.0 <= probability <= 1.0:
        raise UserError(f"{name} needs a probability in [0, 1], got {probability}")
    return probability


class MaskingNoise(nn.Module):
    """Sets each element to 0 with the given probability, independently; the others stay as they are.

    Unlike dropout, which enlarges what it keeps.

    Raises:
        UserError: the probability is outside [0, 1].
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = _check_probability("MaskingNoise", probability)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        return x * (torch.rand_like(x) >= self.probability) if self.training else x


class SaltAndPepperNoise(nn.Module):
    """Sets each element to 0 or 1, of equal chance, with the given probability, independently.

    Raises:
        UserError: the probability is outside [0, 1].
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = _check_probability("SaltAndPepperNoise", probability)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training:
            return x
        u = torch.rand_like(x)  # in [0, 1): the lower half of the hit elements turns to 0, the upper to 1
        return torch.where(u < self.probability, (u >= self.probability / 2).to(x.dtype), x)


class GaussianNoise(nn.Module):
    """Adds independent N(0, std^2) to each element; the sum may leave [0, 1].

    Raises:
        UserError: ``std`` is below 0.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if not std >= 0.0:
            raise UserError(f"GaussianNoise needs a std of 0 or more, got {std}")
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        return x + self.std * torch.randn_like(x) if self.training else x
