"""What all feature extractors share."""

import hashlib
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError


class FeatureExtractor(nn.Module):
    """A frozen network whose activations two sets of images are compared by.

    It stays in evaluation mode whatever it is part of, and refuses pixels outside [0, 1].

    Attributes:
        name: names the figures: ``fid_<name>_10k``.
        num_features: D.
    """

    name: ClassVar[str]
    num_features: ClassVar[int]

    def extract(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, D); what a subclass defines."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Features of images.

        Args:
            x: (B, C, H, W), pixels in [0, 1], one channel (grey) or three (RGB).

        Returns:
            (B, D), float32.

        Raises:
            UserError: on another shape, or pixels outside [0, 1].
        """
        check_images(x)
        return self.extract(x)

    def train(self, mode: bool = True) -> "FeatureExtractor":
        """Stays in evaluation mode: batch norm in train mode would make features depend on their batch."""
        return super().train(False)

    def freeze(self) -> None:
        """For the end of a subclass's constructor."""
        self.requires_grad_(False)
        self.eval()

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of the name and the weights."""
        digest = hashlib.sha256(self.name.encode())
        for key, value in sorted(self.state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()


def check_images(x: Tensor) -> None:
    """Raise UserError unless ``x`` holds images (B, 1 or 3, H, W) with pixels in [0, 1]."""
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        raise UserError(f"Features need images (B, 1 or 3, H, W), but these have shape {tuple(x.shape)}.")
    if len(x) == 0:
        return
    low, high = (value.item() for value in torch.aminmax(x.detach()))
    if low != low or high != high:
        raise UserError("Features need pixels in [0, 1], but these hold NaN: has the model diverged?")
    # Rounding in an affine map from another range may overshoot by some eps.
    if low < -1e-6 or high > 1 + 1e-6:
        raise UserError(
            f"Features need pixels in [0, 1], but these reach from {low:.4g} to {high:.4g}: "
            "was the [-1, 1] of a tanh perhaps not mapped to [0, 1]?"
        )
