"""PixelCNN."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lit_gen.networks.autoregressive.base import OrderedNetwork, check_sizes
from lit_gen.networks.autoregressive.pixel_head import HeadByGroup, PixelHead
from lit_gen.networks.autoregressive.pixel_stepper import MaskedConvByGroup, PixelStepper, shift
from lit_gen.networks.layers.class_bias import ClassBiases, add_to_images
from lit_gen.networks.layers.masked_conv import MaskedConv2d
from lit_gen.protocols import Stepper


class ResidualBlock(nn.Module):
    """Residual block of masked convolutions, 1 x 1 to half the features, k x k, 1 x 1 back, each after a ReLU.

    van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Figure 5 (left),
    https://arxiv.org/abs/1601.06759

    Args:
        channels: h; 2 h between blocks.
        kernel_size: k.
        num_groups: number of the image's channels in order.
    """

    def __init__(self, channels: int, kernel_size: int, num_groups: int) -> None:
        super().__init__()
        self.reduce = MaskedConv2d(2 * channels, channels, 1, "B", num_groups)
        self.masked = MaskedConv2d(channels, channels, kernel_size, "B", num_groups)
        self.expand = MaskedConv2d(channels, 2 * channels, 1, "B", num_groups)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, 2 h, H, W), a class's biases (B, h) -> (B, 2 h, H, W)."""
        y = self.masked(self.reduce(x.relu()).relu_())
        return x + self.expand(add_to_images(y, bias).relu_())


class PixelCNN(OrderedNetwork):
    """PixelCNN: a masked convolution A, residual blocks of masked convolutions B, and 1 x 1 convolutions.

    van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Sections 3.3 to 3.5 and Table 1,
    https://arxiv.org/abs/1601.06759

    Stacked masks leave a blind spot: no number of layers shows a pixel those above it that lie farther to the right
    than the convolutions reach for each row that they rise. ``GatedPixelCNN`` has none.

    Args:
        event_shape: (C, H, W), pixels in [0, 1].
        params_per_output: P, parameters of each channel of a pixel, or of each pixel.
        channels: h, features within a block, each 2 h wide; the paper has 16 for MNIST and 128 for CIFAR-10.
        num_blocks: number of residual blocks.
        kernel_size: of the blocks' masked convolutions.
        first_kernel_size: of the first convolution.
        head_channels: features between the last two convolutions.
        by_channel: whether each channel is told given those before it (R, then G, then B), or the whole pixel at once.
        num_classes: number of classes, each with biases of its own at every k x k convolution; None for none.

    Raises:
        UserError: no image, an even kernel, a count below 1, or fewer features than channels in order.
    """

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        params_per_output: int = 1,
        channels: int = 16,
        num_blocks: int = 15,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        head_channels: int = 32,
        by_channel: bool = True,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(event_shape, params_per_output, by_channel, num_classes)
        kernels = {"kernel_size": kernel_size, "first_kernel_size": first_kernel_size}
        check_sizes(self, kernels, channels=channels, num_blocks=num_blocks, head_channels=head_channels)
        num_groups, width = self.cell_shape[0], 2 * channels
        self.first = MaskedConv2d(self.event_shape[0], width, first_kernel_size, "A", num_groups)
        self.blocks = nn.ModuleList(ResidualBlock(channels, kernel_size, num_groups) for _ in range(num_blocks))
        self.head = PixelHead(width, head_channels, params_per_output, num_groups)
        self.first_bias = ClassBiases(num_classes, 1, width)
        self.class_biases = ClassBiases(num_classes, num_blocks, channels)
        self.to(memory_format=torch.channels_last)  # in which CPUs convolve faster

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, C, H, W), class indices (B,) -> (B, P, *cell_shape)."""
        y = add_to_images(self.first(2 * x - 1), *self.first_bias.of(label))
        y = y.contiguous(memory_format=torch.channels_last)  # an image of one channel has no format to hand on
        for block, bias in zip(self.blocks, self.class_biases.of(label), strict=True):
            y = block(y, bias)
        return self.head(y)

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps of each block the rows that its masked convolution sees, and computes what they give once a row."""
        return _PixelCNNStepper(self, num, label)


class _BlockStep(NamedTuple):
    """A residual block at one pixel: matrices for one group, and places that are read and written, (N, …).

    Attributes:
        wide: the group's part of the block's input, after its ReLU.
        wide_seen: what the first 1 x 1 convolution sees of it.
        reduce_bias: bias of the first 1 x 1 convolution.
        reduce: its weights.
        reduced: the group's part of its result, after the ReLU.
        window: what the masked convolution sees.
        masked: its weights.
        narrow: the group's part of its result, after the ReLU.
        narrow_seen: what the last 1 x 1 convolution sees of it, after a one.
        expand: its weights, after its bias.
    """

    wide: Tensor
    wide_seen: Tensor
    reduce_bias: Tensor
    reduce: Tensor
    reduced: Tensor
    window: Tensor
    masked: Tensor
    narrow: Tensor
    narrow_seen: Tensor
    expand: Tensor


class _PixelCNNStepper(PixelStepper):
    @torch.no_grad()
    def __init__(self, network: PixelCNN, num: int, label: Tensor | None) -> None:
        super().__init__(network, num, network.first.left)
        self.first = MaskedConvByGroup(network.first, num, self.width, *network.first_bias.of(label))
        biases = network.class_biases.of(label)
        self.blocks = [
            MaskedConvByGroup(block.masked, num, self.width, bias)
            for block, bias in zip(network.blocks, biases, strict=True)
        ]
        self.head = HeadByGroup(network.head, num)
        masked = network.blocks[0].masked
        channels, self.margin = masked.in_channels, masked.left
        new_zeros, count = self.row.new_zeros, len(self.blocks)
        # What the blocks' masked convolutions look at: rows, the last one that which is told, and of it some columns.
        self.rows = new_zeros(count, num, self.margin + 1, self.width + 2 * self.margin, channels)
        self.windows = new_zeros(count, num, self.margin + 1, channels)
        self.wide = new_zeros(count, num, 2 * channels)
        self.narrow = new_zeros(count, num, 1 + channels)
        self.narrow[:, :, 0] = 1.0  # for the bias
        self.steps = [
            [self._block_step(at, block, group) for at, block in enumerate(network.blocks)]
            for group in range(self.num_groups)
        ]

    def _block_step(self, at: int, block: ResidualBlock, group: int) -> _BlockStep:
        reduce, expand = block.reduce.row_taps()[group], block.expand.row_taps()[group]
        masked = self.blocks[at].weights[group]
        wide_seen = self.wide[at, :, : len(reduce.weight)]
        window = self.windows[at].flatten(1)[:, : len(masked)]
        narrow_seen = self.narrow[at, :, : 1 + len(expand.weight)]
        return _BlockStep(
            wide_seen[:, -len(expand.features) :],
            wide_seen,
            block.reduce.bias[reduce.features],
            reduce.weight,
            window[:, -len(reduce.features) :],
            window,
            masked,
            narrow_seen[:, -masked.shape[1] :],
            narrow_seen,
            torch.cat([block.expand.bias[expand.features].unsqueeze(0), expand.weight]),
        )

    def begin_row(self, above: Tensor) -> None:
        self.first.look_up(above)
        shift(self.rows, 2)
        self.windows.zero_()
        for block, rows in zip(self.blocks, self.rows, strict=True):
            block.look_up(rows[:, :-1].permute(0, 3, 1, 2))

    def end_pixel(self, column: int) -> None:
        self.rows[:, :, -1, self.margin + column] = self.windows[:, :, -1]
        shift(self.windows, 2)

    def tell(self, column: int, group: int) -> Tensor:
        weight = self.first.weights[group]
        x = torch.addmm(self.first.contexts[column][group], self.window(column, len(weight)), weight)
        for block, step in zip(self.blocks, self.steps[group], strict=True):
            torch.clamp_min(x, 0, out=step.wide)
            torch.addmm(step.reduce_bias, step.wide_seen, step.reduce, out=step.reduced).relu_()
            torch.addmm(block.contexts[column][group], step.window, step.masked, out=step.narrow).relu_()
            x = torch.addmm(x, step.narrow_seen, step.expand)
        return self.head(x, group)
