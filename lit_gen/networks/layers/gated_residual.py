"""Residual layers with a gate."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.networks.layers.class_bias import ClassBiases, add_to_images
from lit_gen.networks.layers.convolution_by_pixel import ConvolutionByPixel, PixelwiseConvolution


class GatedResidual(nn.Module):
    """x + a sigmoid(b), where two convolutions make a and b of x: (B, C, H, W) -> the same.

    Salimans et al., PixelCNN++ (2017), https://arxiv.org/abs/1701.05517; classes enter as in van den Oord
    et al., Conditional Image Generation with PixelCNN Decoders (2016), Eq. 4, https://arxiv.org/abs/1606.05328

    Args:
        first: makes C channels of those of the activated x.
        second: makes 2 C channels of those of the activated C.
        beside: makes C channels of a second input, to be added to the first's; None for none.
        activation: before both.
        dropout: before the second convolution.
        num_classes: number of classes that a and b have biases of, zero at first; None for none.
    """

    def __init__(
        self,
        first: nn.Module,
        second: nn.Module,
        beside: nn.Module | None = None,
        activation: Callable[[Tensor], Tensor] = F.elu,
        dropout: float = 0.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.first = first
        self.beside = beside
        self.second = second
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.class_bias = ClassBiases(num_classes, 1, len(second.bias))

    def forward(self, x: Tensor, given: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W), what comes from beside (B, D, H, W), class indices (B,) -> (B, C, H, W)."""
        hidden = self.first(self.activation(x))
        if self.beside is not None:
            hidden = hidden + self.beside(given)
        gated = self.second(self.dropout(self.activation(hidden)))
        return x + F.glu(add_to_images(gated, *self.class_bias.of(label)), 1)


class UpperLeftConv2d(nn.Conv2d):
    """Convolution over the pixel and those above, to the left, and between these: (B, in, H, W) -> (B, out, H, W).

    Args:
        in_channels: features of the input.
        out_channels: features of the output.
        kernel_size: rows and columns; 1 for the pixel alone.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size)
        self.margins = (kernel_size - 1, 0, kernel_size - 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        return super().forward(F.pad(x, self.margins))


def elu_residual(
    channels: int,
    kernel_size: int = 1,
    given_channels: int | None = None,
    dropout: float = 0.0,
    num_classes: int | None = None,
) -> GatedResidual:
    """A ``GatedResidual`` with ELUs and plain convolutions, near the identity at first, so that many can follow each
    other; of the second input, which comes activated, each pixel sees its own."""
    first = UpperLeftConv2d(channels, channels, kernel_size)
    beside = None if given_channels is None else nn.Conv2d(given_channels, channels, 1, bias=False)
    second = UpperLeftConv2d(channels, 2 * channels, kernel_size)
    with torch.no_grad():
        second.weight *= 0.1
    return GatedResidual(first, second, beside, F.elu, dropout, num_classes)


class GatedResidualByPixel:
    """An ``elu_residual`` with kernels of 2 x 2, in evaluation, for one pixel after the other.

    Args:
        layer: without a second input.
        num: N, the number of examples.
        width: W.
        label: (N,) class indices, where the layer is conditioned on them.
    """

    def __init__(self, layer: GatedResidual, num: int, width: int, label: Tensor | None) -> None:
        biases = [conv.bias.detach().unsqueeze(0) for conv in (layer.first, layer.second)]
        (of_class,) = layer.class_bias.of(label)
        if of_class is not None:
            biases[1] = biases[1] + of_class.detach()
        self.first, self.second = (
            ConvolutionByPixel(*conv.weight.detach().permute(2, 3, 1, 0), bias, num, width)
            for conv, bias in zip((layer.first, layer.second), biases, strict=True)
        )
        self.convolutions = (self.first, self.second)

    def step(self, x: Tensor, column: int) -> None:
        """Adds to (N, channels) at a column, in place, what the layer does."""
        F.elu_(self.first.slots[column].copy_(x))
        F.elu_(self.first.step(column, out=self.second.slots[column]))
        x += F.glu(self.second.step(column), 1)


class GatedResidualOfPixel:
    """``elu_residual`` layers with kernels of 1 x 1, in evaluation, on a single pixel: one, or K alike at once.

    Args:
        layers: not conditioned on classes.
    """

    def __init__(self, *layers: GatedResidual) -> None:
        weights = [layer.first.weight for layer in layers]
        if layers[0].beside is not None:
            weights = [torch.cat([layer.first.weight, layer.beside.weight], 1) for layer in layers]
        self.first = PixelwiseConvolution(weights, [layer.first.bias for layer in layers])
        self.second = PixelwiseConvolution.of(*(layer.second for layer in layers))

    def __call__(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(N, channels), activated (N, given_channels) -> (N, channels), or with K before each."""
        active = F.elu(x)
        hidden = self.first(active if given is None else torch.cat([active, given], -1))
        return F.glu(self.second(F.elu_(hidden)), -1).add_(x)
