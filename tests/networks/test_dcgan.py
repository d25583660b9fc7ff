"""The guidelines of Radford et al. (2016), asserted on the networks, at every size they are said to work on."""

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.networks.layers.norm import BatchNorm2d

SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 128, 128)]


@pytest.mark.parametrize("shape", SHAPES)
def test_makes_and_reads_images_of_every_size(shape):
    images = DCGANGenerator(7, shape, base_channels=2)(torch.randn(2, 7))
    assert images.shape == (2, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    assert DCGANDiscriminator(shape, base_channels=2)(images).shape == (2,)


@pytest.mark.parametrize("network", [lambda shape: DCGANGenerator(7, shape), DCGANDiscriminator])
@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 28, 32), (3, 256, 256), (1, 4, 4), (28, 28), (0, 28, 28)])
def test_refuses_other_sizes_in_one_line(network, shape):
    with pytest.raises(UserError, match="square images") as error:
        network(shape)
    assert "\n" not in str(error.value)
    assert str(shape) in str(error.value)


def test_the_generator_follows_the_guidelines():
    layers = list(DCGANGenerator(7, (3, 32, 32), base_channels=4).modules())
    assert isinstance(layers[-1], nn.Tanh)
    assert isinstance(layers[-2], nn.ConvTranspose2d)  # no norm between the output and its tanh
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in layers) == 3  # 4 -> 8 -> 16 -> 32
    assert sum(isinstance(layer, BatchNorm2d) for layer in layers) == 3  # all but the output
    assert sum(isinstance(layer, nn.ReLU) for layer in layers) == 3
    assert all(layer.stride == (2, 2) for layer in layers if isinstance(layer, nn.ConvTranspose2d))
    assert not any(isinstance(layer, nn.Upsample | nn.MaxPool2d | nn.AvgPool2d) for layer in layers)


def test_the_discriminator_follows_the_guidelines():
    network = DCGANDiscriminator((3, 32, 32), base_channels=4)
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [nn.Conv2d, nn.LeakyReLU] + [nn.Conv2d, BatchNorm2d, nn.LeakyReLU] * 2
    assert all(layer.negative_slope == 0.2 for layer in network.layers if isinstance(layer, nn.LeakyReLU))
    assert all(layer.stride == (2, 2) for layer in network.layers if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_five_guidelines_hold_at_every_size(shape):
    """ "Architecture guidelines for stable Deep Convolutional GANs", in the paper's order."""
    generator, discriminator = DCGANGenerator(7, shape, base_channels=2), DCGANDiscriminator(shape, base_channels=2)
    g, d = ([part for part in network.modules() if not list(part.children())] for network in (generator, discriminator))
    # 1. Strided convolutions in the discriminator and fractionally strided ones in the generator for pooling layers.
    resampling = nn.modules.pooling._MaxPoolNd | nn.modules.pooling._AvgPoolNd | nn.Upsample
    assert not any(isinstance(layer, resampling) for layer in g + d)
    assert {layer.stride for layer in g if isinstance(layer, nn.ConvTranspose2d)} == {(2, 2)}
    assert {layer.stride for layer in d if isinstance(layer, nn.Conv2d)} == {(2, 2)}
    assert not any(isinstance(layer, nn.Conv2d) for layer in g)
    # 2. Batch norm in both, behind every layer but the generator's output and the discriminator's input and score.
    weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    normalized = [
        [
            isinstance(following, BatchNorm2d)
            for layer, following in zip(layers, [*layers[1:], None], strict=True)
            if isinstance(layer, weighted | nn.Unflatten)
        ]
        for layers in (g, d)
    ]
    assert normalized[0] == [False] + [True] * (len(normalized[0]) - 2) + [False]  # the projection is unflattened first
    assert normalized[1] == [False] + [True] * (len(normalized[1]) - 2) + [False]
    # 3. No hidden fully connected layers: one reshapes the latent, one reads the score.
    assert [layer for layer in g + d if isinstance(layer, nn.Linear)] == [generator.project, discriminator.score]
    # 4. ReLU in the generator for all layers but the output, which uses tanh.
    # 5. LeakyReLU in the discriminator for all layers.
    activations = [
        [type(layer) for layer in layers if type(layer).__module__ == "torch.nn.modules.activation"]
        for layers in (g, d)
    ]
    num_levels = sum(isinstance(layer, nn.Conv2d) for layer in d)
    assert activations == [[nn.ReLU] * num_levels + [nn.Tanh], [nn.LeakyReLU] * num_levels]


def test_weights_start_from_a_normal_of_standard_deviation_0_02():
    for network in (DCGANGenerator(50, (1, 28, 28)), DCGANDiscriminator((1, 28, 28))):
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                tolerance = 4 * 0.02 / module.weight.numel() ** 0.5  # 4 standard errors
                assert abs(module.weight.mean()) < tolerance
                assert abs(module.weight.std() - 0.02) < tolerance
            elif isinstance(module, BatchNorm2d):
                assert abs(module.weight.mean() - 1) < 0.02


def test_pixels_are_converted_at_the_networks_own_edges():
    generator = DCGANGenerator(4, (1, 8, 8), base_channels=2).eval()
    generator.layers[-2].weight.data.zero_()
    for logit, pixel in ((0.0, 0.5), (20.0, 1.0), (-20.0, 0.0)):
        generator.layers[-2].bias.data.fill_(logit)
        torch.testing.assert_close(generator(torch.randn(3, 4)), torch.full((3, 1, 8, 8), pixel))
    discriminator = DCGANDiscriminator((1, 8, 8), base_channels=2)
    seen = []
    discriminator.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    discriminator(torch.linspace(0, 1, 64).view(1, 1, 8, 8))
    torch.testing.assert_close(seen[0].flatten(), torch.linspace(-1, 1, 64))


def test_the_norm_is_a_part_handed_in():
    network = DCGANGenerator(4, (1, 16, 16), base_channels=2, norm=lambda channels: nn.GroupNorm(1, channels))
    assert any(isinstance(layer, nn.GroupNorm) for layer in network.modules())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
