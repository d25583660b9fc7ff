"""The generator and discriminator of the deep convolutional GAN.

Radford, Metz & Chintala, Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
(2016), "Architecture guidelines" and Section 4, https://arxiv.org/abs/1511.06434
"""

from collections.abc import Callable

from torch import Tensor, nn

from lit_gen.networks.layers.norm import BatchNorm2d
from lit_gen.networks.layers.pyramid import pyramid
from lit_gen.ranges import check_at_least


def _initialize(network: nn.Module) -> None:
    """Weights from N(0, 0.02), as in Section 4; a norm's scale is centred on 1, which leaves it a norm."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class DCGANGenerator(nn.Module):
    """Latents (B, latent_dim) -> images (B, C, H, W) in [0, 1].

    The latent is projected to a small map of many channels, which fractionally strided convolutions double in side
    and halve in channels; normalized and rectified but for the output, whose tanh is moved from [-1, 1] to [0, 1].

    Args:
        latent_dim: length of a latent.
        image_shape: (C, H, W) with H = W in 8, 16, 32, 64, 128 or 28.
        base_channels: channels of the largest feature map (the paper's network has 128 at side 32).
        norm: makes the norm of that many channels; ``torch.nn.Identity`` for none.

    Raises:
        UserError: it cannot make images of that shape.
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: tuple[int, int, int],
        base_channels: int = 64,
        norm: Callable[[int], nn.Module] = BatchNorm2d,
    ) -> None:
        super().__init__()
        base, num_levels = pyramid("DCGANGenerator", image_shape, largest=128)
        check_at_least(self, 1, latent_dim=latent_dim, base_channels=base_channels)
        self.in_shape = (latent_dim,)
        self.out_shape = tuple(image_shape)
        channels = base_channels * 2 ** (num_levels - 1)
        self.project = nn.Linear(latent_dim, channels * base * base, bias=False)
        layers: list[nn.Module] = [nn.Unflatten(1, (channels, base, base)), norm(channels), nn.ReLU()]
        for _ in range(num_levels - 1):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False),
                norm(channels // 2),
                nn.ReLU(),
            ]
            channels //= 2
        layers += [nn.ConvTranspose2d(channels, image_shape[0], 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _initialize(self)

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim) -> (B, C, H, W) in [0, 1]."""
        return (self.layers(self.project(z)) + 1.0) / 2.0


class DCGANDiscriminator(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> scores (B,), the logits of being real.

    Strided convolutions with leaky rectifiers, normalized but for the input layer, on pixels moved to [-1, 1]; no
    fully connected layer but the one that reads the score.

    Args:
        image_shape: (C, H, W) with H = W in 8, 16, 32, 64, 128 or 28.
        base_channels: channels of the largest feature map, doubled each time its side is halved.
        norm: makes the norm of that many channels; ``torch.nn.Identity`` for none.
        minibatch: as in ``MLPDiscriminator``, of the flattened features.

    Raises:
        UserError: it cannot read images of that shape.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        base_channels: int = 64,
        norm: Callable[[int], nn.Module] = BatchNorm2d,
        minibatch: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        base, num_levels = pyramid("DCGANDiscriminator", image_shape, largest=128)
        check_at_least(self, 1, base_channels=base_channels)
        self.in_shape = tuple(image_shape)
        channels = base_channels
        layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for _ in range(num_levels - 1):
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False),
                norm(2 * channels),
                nn.LeakyReLU(0.2),
            ]
            channels *= 2
        self.layers = nn.Sequential(*layers)
        num_features = channels * base * base
        self.minibatch = nn.Identity() if minibatch is None else minibatch(num_features)
        self.score = nn.Linear(getattr(self.minibatch, "out_features", num_features), 1)
        _initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, F), the last convolution's activations."""
        return self.layers(2.0 * x - 1.0).flatten(1)

    def from_features(self, features: Tensor) -> Tensor:
        """(B, F) -> (B,)."""
        return self.score(self.minibatch(features)).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B,)."""
        return self.from_features(self.features(x))
