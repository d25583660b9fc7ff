"""PixelSNAIL: causal convolutions for what is near, attention for all the rest."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.networks.layers.convolution_by_pixel import ConvolutionByPixel, PixelwiseConvolution
from lit_gen.networks.layers.gated_residual import (
    GatedResidual,
    GatedResidualByPixel,
    GatedResidualOfPixel,
    elu_residual,
)
from lit_gen.protocols import Stepper
from lit_gen.ranges import check_at_least


class PixelSNAIL(OrderedNetwork):
    """Blocks of gated residual convolutions, each followed by attention to all pixels before.

    Chen, Mishra, Rohaninejad & Abbeel, PixelSNAIL: An Improved Autoregressive Generative Model (2018),
    https://arxiv.org/abs/1712.09763. Kernels of 2 x 2 and plain ELUs are those of the authors' program. Other than
    there, weights aren't normalized, and attention may also go to nothing, a key and a value of zeros, which is all
    that the first pixel has.

    A cell is a pixel: its channels are tied together by the likelihood, as ``PixelLogisticMixtureHead``. The defaults
    are the size of a public re-run on MNIST; the authors' network for CIFAR-10 has 256 channels, 12 blocks of 4
    convolutions, and 16 and 128 dimensions of keys and values.

    Args:
        event_shape: (C, H, W), with values in [0, 1].
        params_per_output: P.
        channels: features of a pixel.
        num_blocks: attention blocks.
        num_residual: gated residual convolutions before the attention of each.
        key_dim: dimensions of keys and queries.
        value_dim: dimensions of what attention gives.
        dropout: share of the features within each residual layer that is dropped in training.
        num_classes: number of classes that it is conditioned on, by biases in each convolution's gate and in what it
            lets through; None for none.

    Raises:
        UserError: a count below 1, examples that are no images, or a dropout out of [0, 1).
    """

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        params_per_output: int = 1,
        channels: int = 64,
        num_blocks: int = 8,
        num_residual: int = 2,
        key_dim: int = 4,
        value_dim: int = 32,
        dropout: float = 0.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(event_shape, params_per_output, by_channel=False, num_classes=num_classes)
        check_at_least(self, 1, channels=channels, num_blocks=num_blocks, num_residual=num_residual)
        check_at_least(self, 1, key_dim=key_dim, value_dim=value_dim)
        if not 0.0 <= dropout < 1.0:
            raise UserError(f"a PixelSNAIL's dropout must be in [0, 1), got {dropout}")
        colours, height, width = self.event_shape
        # A channel of ones tells the pixels from the zeros around the image.
        self.above = nn.Conv2d(colours + 1, channels, (1, 3))
        self.left = nn.Conv2d(colours + 1, channels, 1, bias=False)
        self.blocks = nn.ModuleList()
        for _ in range(num_blocks):
            residuals = [
                elu_residual(channels, 2, dropout=dropout, num_classes=num_classes) for _ in range(num_residual)
            ]
            self.blocks.append(_Block(residuals, colours, channels, key_dim, value_dim, dropout))
        self.head = nn.Conv2d(channels, params_per_output, 1)
        rows, columns = torch.arange(height) / height - 0.5, torch.arange(width) / width - 0.5
        self.register_buffer("places", torch.stack(torch.meshgrid(rows, columns, indexing="ij")), persistent=False)

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, C, H, W), class indices (B,) -> (B, P, 1, H, W)."""
        x = 2 * x - 1
        image = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        above = self.above(F.pad(image, (1, 1, 1, 0))[:, :, :-1])
        features = above + self.left(F.pad(image, (1, 0))[..., :-1])
        places = self.places.expand(len(x), -1, -1, -1)
        for block in self.blocks:
            features = block(features, x, places, label)
        return self.head(F.elu(features)).unsqueeze(2)

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps one row of each convolution's input, and the keys and values of the pixels so far."""
        return _Pixels(self, num, label)


class _Block(nn.Module):
    """Convolutions, then attention: keys and values are made of the image, the features and where the pixel lies,
    queries of the latter two."""

    def __init__(
        self,
        residuals: list[GatedResidual],
        colours: int,
        channels: int,
        key_dim: int,
        value_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dims = [key_dim, value_dim]
        self.residuals = nn.ModuleList(residuals)
        self.content = elu_residual(colours + channels + 2, dropout=dropout)
        self.key_value = nn.Conv2d(colours + channels + 2, key_dim + value_dim, 1)
        self.question = elu_residual(channels + 2, dropout=dropout)
        self.query = nn.Conv2d(channels + 2, key_dim, 1)
        self.merge = elu_residual(channels, given_channels=value_dim, dropout=dropout)

    def forward(self, features: Tensor, x: Tensor, places: Tensor, label: Tensor | None) -> Tensor:
        """(B, channels, H, W), (B, C, H, W), (B, 2, H, W), class indices (B,) -> (B, channels, H, W)."""
        for residual in self.residuals:
            features = residual(features, label=label)
        content = self.content(torch.cat([x, features, places], 1))
        key, value = self.key_value(content).split(self.dims, 1)
        query = self.query(self.question(torch.cat([features, places], 1)))
        return self.merge(features, F.elu(attend_to_pixels_before(query, key, value)))


def attend_to_pixels_before(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each pixel, by rows, to those before it, and to nothing: a key and a value of zeros.

    Args:
        query: (B, K, H, W).
        key: (B, K, H, W).
        value: (B, V, H, W).

    Returns:
        (B, V, H, W).
    """
    shape = value.shape
    query, key, value = (part.flatten(2).transpose(1, 2).unsqueeze(1) for part in (query, key, value))  # (B, 1, S, …)
    # With nothing put first, all up to a place is what comes before it.
    key, value = (F.pad(part, (0, 0, 1, 0))[:, :, :-1] for part in (key, value))
    seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return seen.squeeze(1).transpose(1, 2).reshape(shape)


class _Pixels:
    """Steps through the pixels."""

    @torch.no_grad()
    def __init__(self, network: PixelSNAIL, num: int, label: Tensor | None) -> None:
        self.width = network.cell_shape[2]
        above = network.above.weight[:, :, 0].permute(2, 1, 0)  # (3, C + 1, channels)
        left = network.left.weight.permute(2, 3, 1, 0)[0]  # (1, C + 1, channels)
        self.image = ConvolutionByPixel(above, left, network.above.bias.unsqueeze(0), num, self.width)
        for slot in self.image.slots:
            slot[:, -1] = 1
        self.residuals = [
            [GatedResidualByPixel(layer, num, self.width, label) for layer in block.residuals]
            for block in network.blocks
        ]
        of_residuals = [part for block in self.residuals for layer in block for part in layer.convolutions]
        self.convolutions = [self.image, *of_residuals]
        self.questions = [GatedResidualOfPixel(block.question) for block in network.blocks]
        self.merges = [GatedResidualOfPixel(block.merge) for block in network.blocks]
        self.memory = _Memory(network, num)
        self.places = network.places.flatten(1).T.unsqueeze(1).expand(-1, num, -1)  # (S, N, 2)
        self.head = PixelwiseConvolution.of(network.head)
        self.done = 0

    @torch.no_grad()
    def __call__(self, previous: Tensor | None) -> Tensor:
        """The values (N, C) of the pixel before -> the parameters (N, P) of the next."""
        column = self.done % self.width
        if previous is not None:
            x = 2 * previous - 1
            self.image.slots[(self.done - 1) % self.width][:, :-1] = x
            self.memory.take(x, self.places[self.done - 1], self.done)
            if column == 0:
                for convolution in self.convolutions:
                    convolution.next_row()
        features, place = self.image.step(column), self.places[self.done]
        for number, residuals in enumerate(self.residuals):
            for residual in residuals:
                residual.step(features, column)
            self.memory.features[number].copy_(features)
            question = self.questions[number](torch.cat([features, place], 1))
            recalled = self.memory.recall(number, question, self.done + 1)
            features = self.merges[number](features, F.elu_(recalled))
        self.done += 1
        return self.head(F.elu_(features))


class _Memory:
    """Keys and values of all blocks.

    Those of a pixel depend on the pixel itself, so they are computed when it is known, at the step after: of all
    blocks at once, for by then the features of all are.
    """

    def __init__(self, network: PixelSNAIL, num: int) -> None:
        blocks = list(network.blocks)
        self.key_dim, value_dim = blocks[0].dims
        kept = network.head.weight.new_zeros
        self.keys = kept(len(blocks), num, network.num_cells, self.key_dim)  # first nothing, then the pixels
        self.values = kept(len(blocks), num, network.num_cells, value_dim)
        self.transposed_keys = self.keys.transpose(2, 3)
        self.seen = kept(len(blocks), num, blocks[0].key_value.in_channels)
        self.features = self.seen[:, :, network.event_shape[0] : -2]  # (blocks, N, channels), filled from outside
        self.content = GatedResidualOfPixel(*(block.content for block in blocks))
        self.key_value = PixelwiseConvolution.of(*(block.key_value for block in blocks))
        scale = self.key_dim**-0.5
        weights, biases = [scale * b.query.weight for b in blocks], [scale * b.query.bias for b in blocks]
        self.queries = [PixelwiseConvolution([weight], [bias]) for weight, bias in zip(weights, biases, strict=True)]

    def take(self, x: Tensor, place: Tensor, at: int) -> None:
        """Keep the pixel (N, C) that lies at ``place``, (N, 2), as entry ``at``, with its features."""
        self.seen[:, :, : x.shape[1]] = x
        self.seen[:, :, -2:] = place
        content = self.key_value(self.content(self.seen))
        self.keys[:, :, at] = content[:, :, : self.key_dim]
        self.values[:, :, at] = content[:, :, self.key_dim :]

    def recall(self, number: int, question: Tensor, count: int) -> Tensor:
        """(N, V) what block ``number`` finds among the first ``count`` entries."""
        query = self.queries[number](question).unsqueeze(1)
        weights = torch.bmm(query, self.transposed_keys[number, :, :, :count]).softmax(2)
        return torch.bmm(weights, self.values[number, :, :count]).squeeze(1)
