"""Convolutions pixel by pixel are the convolutions of the whole image."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_gen.networks.layers.convolution_by_pixel import ConvolutionByPixel, PixelwiseConvolution


@pytest.mark.parametrize(("columns_above", "columns_beside"), [(2, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 1), (1, 3)])
def test_pixel_by_pixel_it_is_the_convolution(columns_above, columns_beside, height, width):
    torch.manual_seed(0)
    above, beside = torch.randn(columns_above, 2, 5), torch.randn(columns_beside, 2, 5)
    bias, x = torch.randn(3, 5), torch.randn(3, 2, height, width)
    kernel = torch.zeros(5, 2, 2, 3)
    kernel[:, :, 0, :columns_above], kernel[:, :, 1, :columns_beside] = above.permute(2, 1, 0), beside.permute(2, 1, 0)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 0)), kernel) + bias[:, :, None, None]
    steps = ConvolutionByPixel(above, beside, bias, 3, width)
    for row in range(height):
        for column in range(width):
            steps.slots[column].copy_(x[:, :, row, column])
            torch.testing.assert_close(steps.step(column), expected[:, :, row, column])
        steps.next_row()


@pytest.mark.parametrize("count", [1, 3])
def test_kernels_of_one_pixel_are_matrices(count):
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 2, 1) for _ in range(count)]
    x = torch.randn(count, 5, 4)
    expected = torch.stack([layer(part[:, :, None, None]).flatten(1) for layer, part in zip(layers, x, strict=True)])
    pixel = x[0] if count == 1 else x
    torch.testing.assert_close(PixelwiseConvolution.of(*layers)(pixel), expected[0] if count == 1 else expected)
