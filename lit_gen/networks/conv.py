"""A plain convolutional encoder and decoder for autoencoders."""

import itertools
from math import prod

from torch import Tensor, nn

from lit_gen.networks.layers.pyramid import halvings
from lit_gen.ranges import check_at_least

_LARGEST = 64


class ConvEncoder(nn.Module):
    """Images (B, C, H, W) -> (B, params_per_output, latent_dim), or (B, latent_dim) when that is 1.

    Strided convolutions halve both sides and double the channels for as long as both sides are at least 8 (64 x 64 goes
    down to 4 x 4, 28 x 28 to 7 x 7, 28 x 20 to 7 x 5), then one linear layer.

    Args:
        image_shape: (C, H, W) with any H and W from 8 to 64.
        latent_dim: length of a code.
        params_per_output: numbers for each element of the code; 2 for a normal posterior.
        base_channels: channels of the largest feature map.

    Raises:
        UserError: it cannot read images of that shape.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        params_per_output: int = 2,
        base_channels: int = 32,
    ) -> None:
        super().__init__()
        sizes = halvings("ConvEncoder", image_shape, _LARGEST)
        check_at_least(self, 1, latent_dim=latent_dim, params_per_output=params_per_output, base_channels=base_channels)
        self.in_shape = tuple(image_shape)
        self.out_shape = (latent_dim,)
        self._leading = (params_per_output,) if params_per_output > 1 else ()
        widths = [image_shape[0], *(base_channels * 2**level for level in range(len(sizes) - 1))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(widths[-1] * prod(sizes[-1]), params_per_output * latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, params_per_output, latent_dim)."""
        return self.head(self.layers(x)).view(len(x), *self._leading, *self.out_shape)


class ConvDecoder(nn.Module):
    """Codes (B, latent_dim) -> parameters of images (B, C, H, W), or (B, params_per_output, C, H, W).

    The mirror image of ``ConvEncoder``. Its output is unbounded; the likelihood's head gives it a range.

    Args:
        latent_dim: length of a code.
        image_shape: (C, H, W) with any H and W from 8 to 64.
        params_per_output: numbers for each pixel and channel; 2 for a normal likelihood with a learned scale.
        base_channels: channels of the largest feature map.

    Raises:
        UserError: it cannot make images of that shape.
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        params_per_output: int = 1,
        base_channels: int = 32,
    ) -> None:
        super().__init__()
        sizes = halvings("ConvDecoder", image_shape, _LARGEST)[::-1]
        check_at_least(self, 1, latent_dim=latent_dim, params_per_output=params_per_output, base_channels=base_channels)
        self.in_shape = (latent_dim,)
        self.out_shape = tuple(image_shape)
        self._leading = (params_per_output,) if params_per_output > 1 else ()
        widths = [base_channels * 2**level for level in reversed(range(len(sizes) - 1))]
        smallest = (widths[0], *sizes[0])
        self.project = nn.Sequential(nn.Linear(latent_dim, prod(smallest)), nn.Unflatten(1, smallest), nn.ReLU())
        widths.append(params_per_output * image_shape[0])
        layers: list[nn.Module] = []
        for (before, after), larger in zip(itertools.pairwise(widths), sizes[1:], strict=True):
            lost = tuple(side % 2 for side in larger)  # the row or column that halving left out
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, output_padding=lost), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def output_bias(self) -> Tensor:
        """(C, 1, 1), or (params_per_output, C, 1, 1): a view of the last layer's bias, one for all places."""
        return self.layers[-1].bias.view(*self._leading, self.out_shape[0], 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim) -> (B, C, H, W), or (B, params_per_output, C, H, W)."""
        return self.layers(self.project(z)).view(len(z), *self._leading, *self.out_shape)
