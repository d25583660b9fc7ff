"""Gated PixelCNN, cell by cell."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.networks.autoregressive.gated_layer import GatedLayer, from_sigmoids
from lit_gen.networks.autoregressive.pixel_head import HeadByGroup
from lit_gen.networks.autoregressive.pixel_stepper import MaskedConvByGroup, PixelStepper, shift


class _VerticalStep(NamedTuple):
    """What a layer's vertical stack computes of a whole row.

    Attributes:
        weight: (2 F, in_channels, rows, columns).
        bias: (N, 2 F, 1, 1).
        across: (2 F, 2 F, 1, 1), to the horizontal stack's gates, ordered by group.
    """

    weight: Tensor
    bias: Tensor
    across: Tensor


class _LayerStep(NamedTuple):
    """A layer's horizontal stack at one pixel: matrices for one group, and places that are read and written, (N, …).

    Attributes:
        window: what the convolution sees; None where that is the image.
        weight: the convolution's.
        features: gated features of the group.
        features_seen: gated features of the groups that it sees.
        residual: weights of the residual convolution; None in the last layer.
        around: the group's part of what the residual convolution's result is added to.
        next: where the next layer sees the sum.
    """

    window: Tensor | None
    weight: Tensor
    features: Tensor
    features_seen: Tensor
    residual: Tensor | None
    around: Tensor | None
    next: Tensor | None


class _GroupStep(NamedTuple):
    """The horizontal stack at one pixel for one group.

    Attributes:
        gates: (N, 2 n) scratch for the group's gates.
        content: their first half.
        gate: their second half.
        layers: a step for each layer.
        features: (N, layers, m), gated features of the groups seen.
        to_head: (layers * m, F'), weights that lead from them to the head.
        head_bias: (F',).
    """

    gates: Tensor
    content: Tensor
    gate: Tensor
    layers: list[_LayerStep]
    features: Tensor
    to_head: Tensor
    head_bias: Tensor


class GatedPixelCNNStepper(PixelStepper):
    """The stepper of a ``GatedPixelCNN``.

    Once a row, it computes the vertical stack of all layers for the whole row over the rows of it that it keeps, and
    what that adds to the horizontal gates. A cell is then the horizontal stack at one pixel, over the columns of it
    that are kept.

    The factors by which ``Gates`` multiplies its input are in the weights that lead there.

    Args:
        network: a ``GatedPixelCNN`` in evaluation mode.
        num: number N of images.
        label: (N,) class indices, where it is conditioned on them.
    """

    @torch.no_grad()
    def __init__(self, network: OrderedNetwork, num: int, label: Tensor | None = None) -> None:
        layers = network.layers
        super().__init__(network, num, layers[0].horizontal.left)
        biases = zip(network.vertical_biases.of(label), network.horizontal_biases.of(label), strict=True)
        self.vertical, self.horizontal = [], []
        for layer, (vertical_bias, horizontal_bias) in zip(layers, biases, strict=True):
            scale = layer.gates.scale.flatten()
            horizontal = MaskedConvByGroup(layer.horizontal, num, self.width, horizontal_bias, scale)
            self.horizontal.append(horizontal)
            self.vertical.append(_vertical_step(layer, num, vertical_bias, scale, horizontal))
        channels, self.margin = layers[-1].to_head.in_channels, layers[-1].horizontal.left
        # What later layers look at: rows of the vertical stack, and columns of the horizontal one.
        new_zeros, later = self.row.new_zeros, len(layers) - 1
        self.rows = new_zeros(later, num, self.margin + 1, self.width + 2 * self.margin, channels)
        self.windows = new_zeros(later, num, self.margin + 1, channels)
        self.features = new_zeros(num, len(layers), channels)
        self.groups = [self._group_step(layers, group) for group in range(self.num_groups)]
        self.head = HeadByGroup(network.head, num)

    def _group_step(self, layers: list[GatedLayer], group: int) -> _GroupStep:
        to_head = [layer.to_head.row_taps()[group] for layer in layers]
        gates = self.row.new_zeros(len(self.row), self.horizontal[0].weights[group].shape[1])
        seen = self.features[:, :, : len(to_head[0].weight)]
        return _GroupStep(
            gates,
            *gates.chunk(2, 1),
            [self._layer_step(at, layer, group, seen) for at, layer in enumerate(layers)],
            seen,
            torch.cat([taps.weight for taps in to_head]),
            layers[0].to_head.bias[to_head[0].features],
        )

    def _layer_step(self, at: int, layer: GatedLayer, group: int, seen: Tensor) -> _LayerStep:
        weight = self.horizontal[at].weights[group]
        size = weight.shape[1] // 2
        part = slice(seen.shape[2] - size, seen.shape[2])
        residual = around = following = None
        if layer.residual is not None:
            residual = layer.residual.row_taps()[group].weight
            following = self.windows[at, :, -1, part]
            around = torch.zeros_like(following) if layer.is_first else self.windows[at - 1, :, -1, part]
        window = None if layer.is_first else self.windows[at - 1].flatten(1)[:, : len(weight)]
        return _LayerStep(window, weight, seen[:, at, part], seen[:, at], residual, around, following)

    def begin_row(self, above: Tensor) -> None:
        self.windows.zero_()
        shift(self.rows, 2)
        for at, (vertical, horizontal) in enumerate(zip(self.vertical, self.horizontal, strict=True)):
            gates = F.conv2d(above, vertical.weight).add_(vertical.bias)  # (N, 2 F, 1, W)
            horizontal.set_context(F.conv2d(gates, vertical.across))
            if at < len(self.rows):
                halves = gates.sigmoid_().squeeze(2).transpose(1, 2).chunk(2, 2)  # (N, W, F)
                from_sigmoids(*halves, out=self.rows[at, :, -1, self.margin : self.margin + self.width])
                above = self.rows[at].permute(0, 3, 1, 2)

    def end_pixel(self, column: int) -> None:
        shift(self.windows, 2)

    def tell(self, column: int, group: int) -> Tensor:
        gates, content, gate, layers, features, to_head, head_bias = self.groups[group]
        for layer, horizontal in zip(layers, self.horizontal, strict=True):
            window = self.window(column, len(layer.weight)) if layer.window is None else layer.window
            torch.addmm(horizontal.contexts[column][group], window, layer.weight, out=gates).sigmoid_()
            from_sigmoids(content, gate, out=layer.features)
            if layer.residual is not None:
                torch.addmm(layer.around, layer.features_seen, layer.residual, out=layer.next)
        return self.head(torch.addmm(head_bias, features.flatten(1), to_head), group)


def _vertical_step(
    layer: GatedLayer, num: int, bias: Tensor | None, scale: Tensor, horizontal: MaskedConvByGroup
) -> _VerticalStep:
    bias = (layer.vertical.bias + (scale.new_zeros(num, 1) if bias is None else bias)) * scale
    scale = scale.view(-1, 1, 1, 1)
    across = (layer.across.weight / scale.view(1, -1, 1, 1) * scale)[horizontal.by_group]
    return _VerticalStep(layer.vertical.weight * scale, bias[:, :, None, None], across)
