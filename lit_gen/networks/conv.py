"""A plain convolutional encoder and decoder for autoencoders."""

import itertools
from math import prod

from torch import Tensor, nn

from lit_gen.networks.layers.pyramid import pyramid


class ConvEncoder(nn.Module):
    """Images (B, C, H, W) -> (B, params_per_output, latent_dim), or (B, latent_dim) when that is 1.

    Strided convolutions halve the side and double the channels down to 4 x 4 (7 x 7 for 28), then one linear layer.

    Args:
        image_shape: (C, H, W) with H = W in 8, 16, 32, 64 or 28.
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
        base, num_levels = pyramid("ConvEncoder", image_shape, largest=64)
        self.in_shape = tuple(image_shape)
        self.out_shape = (latent_dim,)
        self._leading = (params_per_output,) if params_per_output > 1 else ()
        widths = [image_shape[0], *(base_channels * 2**level for level in range(num_levels))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(widths[-1] * base * base, params_per_output * latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, params_per_output, latent_dim)."""
        return self.head(self.layers(x)).view(len(x), *self._leading, *self.out_shape)


class ConvDecoder(nn.Module):
    """Codes (B, latent_dim) -> parameters of images (B, C, H, W), or (B, params_per_output, C, H, W).

    The mirror image of ``ConvEncoder``. Its output is unbounded; the likelihood's head gives it a range.

    Args:
        latent_dim: length of a code.
        image_shape: (C, H, W) with H = W in 8, 16, 32, 64 or 28.
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
        base, num_levels = pyramid("ConvDecoder", image_shape, largest=64)
        self.in_shape = (latent_dim,)
        self.out_shape = tuple(image_shape)
        self._leading = (params_per_output,) if params_per_output > 1 else ()
        widths = [base_channels * 2**level for level in reversed(range(num_levels))]
        smallest = (widths[0], base, base)
        self.project = nn.Sequential(nn.Linear(latent_dim, prod(smallest)), nn.Unflatten(1, smallest), nn.ReLU())
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(widths[-1], params_per_output * image_shape[0], 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)

    @property
    def output_bias(self) -> Tensor:
        """(C, 1, 1), or (params_per_output, C, 1, 1): a view of the last layer's bias, one for all places."""
        return self.layers[-1].bias.view(*self._leading, self.out_shape[0], 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim) -> (B, C, H, W), or (B, params_per_output, C, H, W)."""
        return self.layers(self.project(z)).view(len(z), *self._leading, *self.out_shape)
