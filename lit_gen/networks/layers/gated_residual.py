"""Residual layers with a gate."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.networks.layers.convolution_by_pixel import ConvolutionByPixel, PixelwiseConvolution


class GatedResidual(nn.Module):
    """x + a sigmoid(b), where a and b come of two convolutions of x, with ELUs: (B, channels, H, W) -> the same.

    Salimans et al., PixelCNN++ (2017), https://arxiv.org/abs/1701.05517; classes enter as in van den Oord et al.,
    Conditional Image Generation with PixelCNN Decoders (2016), Eq. 4, https://arxiv.org/abs/1606.05328

    Args:
        channels: of x.
        kernel_size: 2 to see the pixel, and those above, to the left, and between these; 1 for the pixel alone.
        given_channels: of a second input, of which each pixel sees its own; None for none.
        dropout: between the two convolutions.
        num_classes: number of classes that a and b have biases of; None for none.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 1,
        given_channels: int | None = None,
        dropout: float = 0.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.padding = (kernel_size - 1, 0, kernel_size - 1, 0)  # left and above
        self.first = nn.Conv2d(channels, channels, kernel_size)
        self.given = None if given_channels is None else nn.Conv2d(given_channels, channels, 1, bias=False)
        self.second = nn.Conv2d(channels, 2 * channels, kernel_size)
        self.classes = None if num_classes is None else nn.Embedding(num_classes, 2 * channels)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.second.weight *= 0.1  # near the identity at first, so that many can follow each other
        if self.classes is not None:
            nn.init.zeros_(self.classes.weight)

    def forward(self, x: Tensor, given: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """(B, channels, H, W), (B, given_channels, H, W), class indices (B,) -> (B, channels, H, W)."""
        hidden = self.first(F.pad(F.elu(x), self.padding))
        if self.given is not None:
            hidden = hidden + self.given(F.elu(given))
        gated = self.second(F.pad(self.dropout(F.elu(hidden)), self.padding))
        if self.classes is not None:
            gated = gated + self.classes(label)[:, :, None, None]
        return x + F.glu(gated, 1)


class GatedResidualByPixel:
    """A ``GatedResidual`` with kernels of 2 x 2, in evaluation, for one pixel after the other.

    Args:
        layer: without a second input.
        num: N, the number of examples.
        width: W.
        label: (N,) class indices, where the layer is conditioned on them.
    """

    def __init__(self, layer: GatedResidual, num: int, width: int, label: Tensor | None) -> None:
        biases = [conv.bias.detach().unsqueeze(0) for conv in (layer.first, layer.second)]
        if layer.classes is not None:
            biases[1] = biases[1] + layer.classes(label).detach()
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
    """``GatedResidual`` layers with kernels of 1 x 1, in evaluation, on a single pixel: one, or K alike at once.

    Args:
        layers: not conditioned on classes.
    """

    def __init__(self, *layers: GatedResidual) -> None:
        weights = [layer.first.weight for layer in layers]
        if layers[0].given is not None:
            weights = [torch.cat([layer.first.weight, layer.given.weight], 1) for layer in layers]
        self.first = PixelwiseConvolution(weights, [layer.first.bias for layer in layers])
        self.second = PixelwiseConvolution.of(*(layer.second for layer in layers))

    def __call__(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """(N, channels), (N, given_channels) -> (N, channels), or with K before each."""
        hidden = self.first(F.elu(x if given is None else torch.cat([x, given], -1)))
        return F.glu(self.second(F.elu_(hidden)), -1).add_(x)
