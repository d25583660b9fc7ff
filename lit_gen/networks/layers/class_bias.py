"""Biases that depend on the class of an example."""

import torch
from torch import Tensor, nn


class ClassBiases(nn.Module):
    """For each of several layers biases that a class has of its own, zero at first.

    van den Oord et al., Conditional Image Generation with PixelCNN Decoders (2016), Section 2.3: conditioning on a
    class is a bias in every layer, the same wherever in the image; https://arxiv.org/abs/1606.05328

    Args:
        num_classes: number of classes; None for biases that are none.
        num_layers: number of layers.
        width: features of each layer.
    """

    def __init__(self, num_classes: int | None, num_layers: int, width: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.weight = None if num_classes is None else nn.Parameter(torch.zeros(num_classes, num_layers, width))

    def of(self, label: Tensor | None) -> list[Tensor] | list[None]:
        """Class indices (B,) -> for each layer (B, width); None for each layer where there are no classes."""
        return [None] * self.num_layers if self.weight is None else list(self.weight[label].unbind(1))


def add_to_images(x: Tensor, bias: Tensor | None) -> Tensor:
    """(B, F, H, W), biases (B, F) or None -> (B, F, H, W)."""
    return x if bias is None else x + bias[:, :, None, None]
