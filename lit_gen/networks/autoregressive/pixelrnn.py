"""PixelRNNs: images by recurrent layers, a row or a diagonal at once.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Section 3 and Table 1,
https://arxiv.org/abs/1601.06759
"""

import torch
from torch import Tensor, nn

from lit_gen.networks.autoregressive.base import OrderedNetwork, check_sizes
from lit_gen.networks.autoregressive.pixel_head import PixelHead
from lit_gen.networks.autoregressive.pixelrnn_steppers import DiagonalBiLSTMStepper, RowLSTMStepper
from lit_gen.networks.autoregressive.recurrent_layers import DiagonalBiLSTMLayer, RecurrentLayer, RowLSTMLayer
from lit_gen.networks.layers.masked_conv import MaskedConv2d
from lit_gen.protocols import Stepper


class PixelRNN(OrderedNetwork):
    """Base: a masked convolution, recurrent layers with residual connections, and a head of 1x1 convolutions.

    Args:
        event_shape: (C, H, W), pixels in [0, 1].
        params_per_output: P.
        hidden: h, units of a layer's LSTM; 2 h features lie between the layers.
        num_layers: number of recurrent layers.
        kernel_size: side of the first layer's kernel, odd.
        head_features: features between the two layers of the head.
        num_classes: number of classes that it is conditioned on, each with a bias to the gates of each layer; None for
            none.
        condition_features: features of a map that it is conditioned on, as the larger network of ``MultiScale`` is;
            None for none.

    Raises:
        UserError: examples that are no images, a count below 1, a kernel that is even or smaller than 3, or fewer
            features than the image has channels.
    """

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        params_per_output: int = 1,
        hidden: int = 16,
        num_layers: int = 7,
        kernel_size: int = 7,
        head_features: int = 32,
        num_classes: int | None = None,
        condition_features: int | None = None,
    ) -> None:
        super().__init__(event_shape, params_per_output, num_classes=num_classes)
        counts = {"hidden": hidden, "num_layers": num_layers, "head_features": head_features}
        check_sizes(self, {"kernel_size": kernel_size}, **counts, condition_features=condition_features)
        channels, features = self.event_shape[0], 2 * hidden
        self.condition_features = condition_features
        self.first = MaskedConv2d(channels, features, kernel_size, "A", channels)
        self.layers = nn.ModuleList(
            self._layer(hidden, channels, num_classes, condition_features) for _ in range(num_layers)
        )
        self.head = PixelHead(features, head_features, params_per_output, channels)

    def _layer(
        self, hidden: int, channels: int, num_classes: int | None, condition_features: int | None
    ) -> RecurrentLayer:
        raise NotImplementedError

    def _context(self, number: int, x: Tensor, label: Tensor | None, condition: Tensor | None) -> Tensor | None:
        """What biases the gates of the layer of that number, (B, gates, H, W) or less; x (B, C, H, W) in [-1, 1]."""
        return self.layers[number].context(label, condition)

    def forward(
        self, x: Tensor, label: Tensor | None = None, order: int = 0, condition: Tensor | None = None
    ) -> Tensor:
        """(B, C, H, W), class indices (B,), a map (B, condition_features, H, W) -> (B, P, C, H, W)."""
        x = 2 * x - 1
        features = self.first(x)
        for number, layer in enumerate(self.layers):
            features = layer(features, self._context(number, x, label, condition))
        return self.head(features)


class RowLSTM(PixelRNN):
    """PixelRNN of Row LSTM layers: each sees a triangle that widens upwards, by a cell a row; Section 3.1.

    What lies outside of the triangle, above and to the sides, it misses.
    """

    def _layer(
        self, hidden: int, channels: int, num_classes: int | None, condition_features: int | None
    ) -> RecurrentLayer:
        return RowLSTMLayer(hidden, channels, num_classes, condition_features)

    def stepper(
        self, num: int, label: Tensor | None = None, order: int = 0, condition: Tensor | None = None
    ) -> Stepper:
        """Keeps the states of a row, and the image's last rows."""
        return RowLSTMStepper(self, num, label, condition)


class DiagonalBiLSTM(PixelRNN):
    """PixelRNN of Diagonal BiLSTM layers, which see everything before; Section 3.2.

    One thing is added to the paper's network. Where its LSTM from the right begins in a row, at the last pixel, it is
    told what lies before that pixel; as it is told no more of that row, the pixels of the next one, but for those
    right below, which the first layer's kernel lets see it, never learn of its value. Here the first layer's LSTM from
    the right is told each pixel itself too, as it may be: it is heard one row further down only.
    """

    def __init__(
        self, event_shape: tuple[int, int, int], params_per_output: int = 1, hidden: int = 16, **kwargs
    ) -> None:
        super().__init__(event_shape, params_per_output, hidden, **kwargs)
        self.pixels_to_state = nn.Conv2d(self.event_shape[0], 4 * hidden, 1, bias=False)

    def _layer(
        self, hidden: int, channels: int, num_classes: int | None, condition_features: int | None
    ) -> RecurrentLayer:
        return DiagonalBiLSTMLayer(hidden, channels, num_classes, condition_features)

    def _context(self, number: int, x: Tensor, label: Tensor | None, condition: Tensor | None) -> Tensor | None:
        context = super()._context(number, x, label, condition)
        if number > 0:
            return context
        from_pixels = self.pixels_to_state(x)
        from_pixels = torch.cat([torch.zeros_like(from_pixels), from_pixels], 1)
        return from_pixels if context is None else from_pixels + context

    def stepper(
        self, num: int, label: Tensor | None = None, order: int = 0, condition: Tensor | None = None
    ) -> Stepper:
        """Keeps the states of a row in both directions, and the image's last rows."""
        return DiagonalBiLSTMStepper(self, num, label, condition)
