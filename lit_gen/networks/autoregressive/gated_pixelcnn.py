"""Gated PixelCNN."""

import torch
from torch import Tensor, nn

from lit_gen.networks.autoregressive.base import OrderedNetwork, check_sizes
from lit_gen.networks.autoregressive.gated_layer import GatedLayer
from lit_gen.networks.autoregressive.gated_pixelcnn_stepper import GatedPixelCNNStepper
from lit_gen.networks.autoregressive.pixel_head import PixelHead
from lit_gen.networks.layers.class_bias import ClassBiases, add_to_images
from lit_gen.protocols import Stepper


class GatedPixelCNN(OrderedNetwork):
    """Gated PixelCNN: a stack for the rows above, a stack for the row, gates, and no blind spot.

    van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves & Kavukcuoglu, Conditional Image Generation with PixelCNN
    Decoders (2016), Section 2, https://arxiv.org/abs/1606.05328

    Each layer's features lead to the head as well: van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural
    Networks (2016), Section 3.3, https://arxiv.org/abs/1601.06759

    Args:
        event_shape: (C, H, W), pixels in [0, 1].
        params_per_output: P, parameters of each channel of a pixel, or of each pixel.
        channels: features of each stack.
        num_layers: number of layers, the first one included.
        kernel_size: k of the layers after the first: k // 2 columns to the left, and as many rows above of k columns.
        first_kernel_size: that of the first layer.
        head_channels: features that the layers add up for the head; by default as many as a stack's.
        by_channel: whether each channel is told given those before it (R, then G, then B), or the whole pixel at once.
        num_classes: number of classes, each with biases of its own in every gate of both stacks (Section 2.3); None
            for none.

    Raises:
        UserError: no image, an even kernel, a count below 1, or fewer features than channels in order.
    """

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        params_per_output: int = 1,
        channels: int = 64,
        num_layers: int = 15,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        head_channels: int | None = None,
        by_channel: bool = True,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(event_shape, params_per_output, by_channel, num_classes)
        head_channels = channels if head_channels is None else head_channels
        kernels = {"kernel_size": kernel_size, "first_kernel_size": first_kernel_size}
        check_sizes(self, kernels, channels=channels, num_layers=num_layers, head_channels=head_channels)
        num_groups = self.cell_shape[0]
        self.layers = nn.ModuleList(
            GatedLayer(
                channels if at else self.event_shape[0],
                channels,
                kernel_size if at else first_kernel_size,
                head_channels,
                num_groups,
                is_first=at == 0,
                is_last=at == num_layers - 1,
            )
            for at in range(num_layers)
        )
        self.head = PixelHead(head_channels, head_channels, params_per_output, num_groups)
        self.vertical_biases = ClassBiases(num_classes, num_layers, 2 * channels)
        self.horizontal_biases = ClassBiases(num_classes, num_layers, 2 * channels)
        self.to(memory_format=torch.channels_last)  # in which CPUs convolve faster

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, C, H, W), class indices (B,) -> (B, P, *cell_shape)."""
        vertical = horizontal = 2 * x - 1
        for_head = 0.0
        biases = zip(self.vertical_biases.of(label), self.horizontal_biases.of(label), strict=True)
        for layer, (vertical_bias, horizontal_bias) in zip(self.layers, biases, strict=True):
            from_above = add_to_images(layer.vertical(vertical), vertical_bias)
            features = layer.gates(
                add_to_images(layer.across(from_above) + layer.horizontal(horizontal), horizontal_bias)
            )
            for_head = for_head + layer.to_head(features)
            if layer.residual is not None:
                vertical = layer.gates(from_above)
                around = 0.0 if layer.is_first else horizontal
                horizontal = layer.residual(features) + around
        return self.head(for_head)

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps the last rows of the vertical stack, which is computed once a row, and of the horizontal one the last
        columns."""
        return GatedPixelCNNStepper(self, num, label)
