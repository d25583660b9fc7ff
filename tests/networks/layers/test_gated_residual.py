"""Gated residual layers: what they compute, and the same pixel by pixel."""

import torch
from torch import nn
from torch.nn import functional as F

from lit_gen.networks.layers.gated_residual import (
    GatedResidual,
    GatedResidualByPixel,
    GatedResidualOfPixel,
    elu_residual,
)


def layer(*arguments, **kwargs) -> GatedResidual:
    torch.manual_seed(0)
    made = elu_residual(*arguments, **kwargs).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


@torch.no_grad()
def test_with_a_second_input_and_classes_it_is_its_formula_at_each_pixel():
    residual = layer(3, given_channels=2, num_classes=2)
    x, given, label = torch.randn(2, 3, 1, 1), torch.randn(2, 2, 1, 1), torch.tensor([1, 0])
    x_0, given_0 = x[0, :, 0, 0], given[0, :, 0, 0]
    hidden = residual.first.weight.flatten(1) @ F.elu(x_0) + residual.first.bias
    hidden = hidden + residual.beside.weight.flatten(1) @ given_0
    gated = residual.second.weight.flatten(1) @ F.elu(hidden) + residual.second.bias + residual.class_bias.weight[1, 0]
    expected = x_0 + gated[:3] * gated[3:].sigmoid()
    torch.testing.assert_close(residual(x, given, label)[0, :, 0, 0], expected)


def test_at_first_it_changes_little():
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 5)
    change = elu_residual(16, 2)(x) - x
    assert 0 < change.std() < 0.1


@torch.no_grad()
def test_pixel_by_pixel_it_is_the_layer():
    residual = layer(3, 2, num_classes=2)
    x, label = torch.randn(2, 3, 4, 5), torch.tensor([1, 0])
    expected = residual(x, label=label)
    steps = GatedResidualByPixel(residual, 2, 5, label)
    for row in range(4):
        for column in range(5):
            features = x[:, :, row, column].clone()
            steps.step(features, column)
            torch.testing.assert_close(features, expected[:, :, row, column])
        for convolution in steps.convolutions:
            convolution.next_row()


@torch.no_grad()
def test_several_layers_at_once_are_each_its_own():
    layers = [layer(3, given_channels=2), layer(3, given_channels=2)]
    nn.init.zeros_(layers[1].first.bias)
    x, given = torch.randn(2, 5, 3), torch.randn(2, 5, 2)
    expected = [one(x[k][:, :, None, None], given[k][:, :, None, None]).flatten(1) for k, one in enumerate(layers)]
    torch.testing.assert_close(GatedResidualOfPixel(*layers)(x, given), torch.stack(expected))
