"""Residual generators and discriminators.

Miyato, Kataoka, Koyama & Yoshida, Spectral Normalization for Generative Adversarial Networks (2018), Appendix B.4,
Tables 4 to 6, https://arxiv.org/abs/1802.05957; the blocks are those of Gulrajani et al., Improved Training of
Wasserstein GANs (2017), https://arxiv.org/abs/1704.00028
"""

from collections.abc import Callable
from math import sqrt

from torch import Tensor, nn

from lit_gen.networks.layers.norm import BatchNorm2d
from lit_gen.networks.layers.pyramid import Pyramid, pyramid
from lit_gen.ranges import check_at_least

_LARGEST = 128
_MOST = 16  # the widest map has so many times base_channels
_SMALL = 32  # up to this side all blocks are equally wide


def _xavier(layer: nn.Linear | nn.Conv2d, gain: float = 1.0) -> nn.Linear | nn.Conv2d:
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class _UpBlock(nn.Module):
    """Doubles the side: (B, in, H, W) -> (B, out, 2 H, 2 W). Its convolutions leave their shifts to the norms."""

    def __init__(self, in_channels: int, out_channels: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            norm(in_channels),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="nearest"),
            _xavier(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), sqrt(2)),
            norm(out_channels),
            nn.ReLU(),
            _xavier(nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False), sqrt(2)),
        )
        # A 1x1 convolution and nearest upsampling commute: in this order it costs a quarter.
        self.shortcut = nn.Sequential(
            _xavier(nn.Conv2d(in_channels, out_channels, 1, bias=False)), nn.Upsample(scale_factor=2, mode="nearest")
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.residual(x)


class _DownBlock(nn.Module):
    """(B, in, H, W) -> (B, out, H / 2, W / 2), or of the same side.

    Args:
        in_channels: in.
        out_channels: out.
        halves: whether it halves the side.
        first: whether its input is an image, which is not rectified.
    """

    def __init__(self, in_channels: int, out_channels: int, halves: bool, first: bool = False) -> None:
        super().__init__()
        inner = out_channels if first else in_channels
        layers: list[nn.Module] = [] if first else [nn.ReLU()]
        layers += [
            _xavier(nn.Conv2d(in_channels, inner, 3, padding=1), sqrt(2)),
            nn.ReLU(),
            _xavier(nn.Conv2d(inner, out_channels, 3, padding=1), sqrt(2)),
        ]
        pool = [nn.AvgPool2d(2)] if halves else []
        self.residual = nn.Sequential(*layers, *pool)
        # The mean over places commutes with a 1x1 convolution, and is cheaper before it.
        convolve = halves or in_channels != out_channels
        self.shortcut = nn.Sequential(*pool, *([_xavier(nn.Conv2d(in_channels, out_channels, 1))] if convolve else []))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.residual(x)


def _widths(side: int, levels: Pyramid) -> list[int]:
    """How many times base_channels the feature maps have, a number a halving of the image, outermost first."""
    return [1 if side <= _SMALL else min(2**level, _MOST) for level in range(levels.num_levels)]


class ResNetGenerator(nn.Module):
    """Latents (B, latent_dim) -> images (B, C, H, W) in [0, 1].

    A linear map to the smallest feature map, a residual block for each doubling of its side, then norm, rectifier, a
    convolution and a tanh that is moved from [-1, 1] to [0, 1]. Up to side 32 all blocks have ``base_channels``; above,
    the last has, and the others twice as many for each halving of the side, up to 16 times.

    Args:
        latent_dim: length of a latent.
        image_shape: (C, H, W) with H = W in 8, 16, 32, 64, 128 or 28.
        base_channels: None for the paper's: 256 up to side 32, 64 above.
        norm: makes the norm of that many channels; ``torch.nn.Identity`` for none.

    Raises:
        UserError: it cannot make images of that shape.
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        base_channels: int | None = None,
        norm: Callable[[int], nn.Module] = BatchNorm2d,
    ) -> None:
        super().__init__()
        levels = pyramid("ResNetGenerator", image_shape, _LARGEST)
        check_at_least(self, 1, latent_dim=latent_dim, base_channels=base_channels)
        side, base = image_shape[1], levels.base
        base_channels = base_channels or (256 if side <= _SMALL else 64)
        self.in_shape = (latent_dim,)
        self.out_shape = tuple(image_shape)
        widths = [base_channels * width for width in _widths(side, levels)][::-1]
        channels = widths[0] if side <= _SMALL else base_channels * min(2**levels.num_levels, _MOST)
        self.project = _xavier(nn.Linear(latent_dim, channels * base * base))
        layers: list[nn.Module] = [nn.Unflatten(1, (channels, base, base))]
        for width in widths:
            layers.append(_UpBlock(channels, width, norm))
            channels = width
        layers += [norm(channels), nn.ReLU(), _xavier(nn.Conv2d(channels, image_shape[0], 3, padding=1)), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim) -> (B, C, H, W) in [0, 1]."""
        return (self.layers(self.project(z)) + 1.0) / 2.0


class ResNetDiscriminator(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> scores (B,).

    Residual blocks without norms on pixels moved to [-1, 1], a rectifier, the sum over places, and one linear layer.
    Up to side 32 two blocks halve the side (one at side 8) and two leave it, all with ``base_channels``; above, blocks
    halve it down to 4 and double the channels from ``base_channels`` on, up to 16 times, and one block leaves it.

    Args:
        image_shape: (C, H, W) with H = W in 8, 16, 32, 64, 128 or 28.
        base_channels: None for the paper's: 128 up to side 32, 64 above.
        minibatch: as in ``MLPDiscriminator``.

    Raises:
        UserError: it cannot read images of that shape.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        base_channels: int | None = None,
        minibatch: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        levels = pyramid("ResNetDiscriminator", image_shape, _LARGEST)
        check_at_least(self, 1, base_channels=base_channels)
        side = image_shape[1]
        base_channels = base_channels or (128 if side <= _SMALL else 64)
        self.in_shape = tuple(image_shape)
        widths = _widths(side, levels)
        halving = widths[:2] if side <= _SMALL else widths
        staying = [1, 1] if side <= _SMALL else [min(2**levels.num_levels, _MOST)]
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for number, width in enumerate(halving + staying):
            layers.append(_DownBlock(channels, base_channels * width, number < len(halving), first=number == 0))
            channels = base_channels * width
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.minibatch = nn.Identity() if minibatch is None else minibatch(channels)
        self.score = _xavier(nn.Linear(getattr(self.minibatch, "out_features", channels), 1))

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, F), the last activations summed over places."""
        return self.layers(2.0 * x - 1.0).sum((2, 3))

    def from_features(self, features: Tensor) -> Tensor:
        """(B, F) -> (B,)."""
        return self.score(self.minibatch(features)).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B,)."""
        return self.from_features(self.features(x))
