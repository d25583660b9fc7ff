"""Against the tables of Miyato et al. (2018), Appendix B.4, and at every size they are said to work on."""

from math import sqrt

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.layers.minibatch import MinibatchStandardDeviation
from lit_gen.networks.layers.norm import BatchNorm2d
from lit_gen.networks.resnet import ResNetDiscriminator, ResNetGenerator
from lit_gen.protocols import ReadsFeatures

SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 128, 128)]


def blocks(network):
    """(in channels, out channels) of each residual block, from its last and its first 3x3 convolution."""
    found = [
        [layer for layer in block.residual if isinstance(layer, nn.Conv2d)]
        for block in network.layers.children()
        if hasattr(block, "residual")
    ]
    return [(first.in_channels, last.out_channels) for first, last in found]


@pytest.mark.parametrize("shape", SHAPES)
def test_makes_and_reads_images_of_every_size(shape):
    images = ResNetGenerator(7, shape, base_channels=2)(torch.randn(2, 7))
    assert images.shape == (2, *shape)
    assert images.min() >= 0
    assert images.max() <= 1
    network = ResNetDiscriminator(shape, base_channels=2)
    assert isinstance(network, ReadsFeatures)
    assert network(images).shape == (2,)


@pytest.mark.parametrize("network", [lambda shape: ResNetGenerator(7, shape), ResNetDiscriminator])
@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 28, 32), (3, 256, 256), (1, 4, 4), (28, 28), (0, 28, 28)])
def test_refuses_other_sizes_in_one_line(network, shape):
    with pytest.raises(UserError, match="square images") as error:
        network(shape)
    assert "\n" not in str(error.value)
    assert str(shape) in str(error.value)


def test_the_generators_widths_are_the_papers():
    with torch.device("meta"):
        cifar, imagenet = ResNetGenerator(128, (3, 32, 32)), ResNetGenerator(128, (3, 128, 128))
    assert cifar.project.out_features == 4 * 4 * 256
    assert blocks(cifar) == [(256, 256)] * 3
    assert imagenet.project.out_features == 4 * 4 * 1024
    assert blocks(imagenet) == [(1024, 1024), (1024, 512), (512, 256), (256, 128), (128, 64)]


def test_the_discriminators_widths_and_sides_are_the_papers():
    with torch.device("meta"):
        cifar, imagenet = ResNetDiscriminator((3, 32, 32)), ResNetDiscriminator((3, 128, 128))
    assert blocks(cifar) == [(3, 128), (128, 128), (128, 128), (128, 128)]
    assert blocks(imagenet) == [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024), (1024, 1024)]
    assert cifar.layers(torch.empty(1, 3, 32, 32, device="meta")).shape == (1, 128, 8, 8)
    assert imagenet.layers(torch.empty(1, 3, 128, 128, device="meta")).shape == (1, 1024, 4, 4)
    # 3 x 3 convolutions with shifts; 1 x 1 shortcuts where the side is halved; the score.
    convolutions = (3 * 9 + 1) * 128 + 7 * (128 * 9 + 1) * 128
    assert sum(p.numel() for p in cifar.parameters()) == convolutions + (3 + 1) * 128 + (128 + 1) * 128 + 128 + 1


def test_the_generators_blocks_norm_rectify_upsample_and_convolve():
    layers = ResNetGenerator(7, (3, 32, 32), base_channels=4).layers
    kinds = [type(layer) for layer in layers[1].residual]
    assert kinds == [BatchNorm2d, nn.ReLU, nn.Upsample, nn.Conv2d, BatchNorm2d, nn.ReLU, nn.Conv2d]
    assert [type(layer) for layer in layers[-4:]] == [BatchNorm2d, nn.ReLU, nn.Conv2d, nn.Tanh]
    assert all(layer.mode == "nearest" for layer in layers.modules() if isinstance(layer, nn.Upsample))


def test_the_discriminators_blocks_rectify_convolve_and_pool():
    layers = ResNetDiscriminator((3, 32, 32), base_channels=4).layers
    kinds = [[type(layer) for layer in block.residual] for block in layers[:-1]]
    assert kinds[0] == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.AvgPool2d]  # an image isn't rectified
    assert kinds[1] == [nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d, nn.AvgPool2d]
    assert kinds[2] == kinds[3] == [nn.ReLU, nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert len(layers[2].shortcut) == 0  # the identity
    assert isinstance(layers[-1], nn.ReLU)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in layers.modules())


def test_blocks_add_what_they_make_to_what_they_are_given():
    block = ResNetDiscriminator((3, 32, 32), base_channels=4).layers[2]
    nn.init.zeros_(block.residual[-1].weight)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x)


def test_features_are_sums_over_places_and_pixels_are_moved_at_its_edge():
    network = ResNetDiscriminator((1, 16, 16), base_channels=4)
    x = torch.rand(3, 1, 16, 16)
    seen = []
    network.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.layers.register_forward_hook(lambda _, inputs, y: seen.append(y))
    features = network.features(x)
    torch.testing.assert_close(seen[0], 2 * x - 1)
    torch.testing.assert_close(features, seen[1].flatten(2).sum(2))
    torch.testing.assert_close(network(x), features @ network.score.weight[0] + network.score.bias)


def glorot_bound(weight, gain):
    return gain * sqrt(6 / (weight[0].numel() + weight[:, 0].numel()))


def test_weights_start_as_glorot_says_twice_the_variance_on_the_residual_branch():
    networks = ResNetDiscriminator((3, 32, 32), base_channels=32), ResNetGenerator(64, (3, 32, 32), base_channels=32)
    for network in networks:
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                bound = glorot_bound(weight, sqrt(2) if "residual" in name else 1.0)
                assert 0.9 * bound < weight.abs().max() <= bound, name
            elif name.endswith("bias"):
                assert not weight.any(), name


def test_the_norm_and_the_look_at_the_batch_are_parts_handed_in():
    generator = ResNetGenerator(4, (1, 16, 16), 2, norm=lambda channels: nn.GroupNorm(1, channels))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in generator.modules())
    assert sum(isinstance(layer, nn.GroupNorm) for layer in generator.modules()) == 5
    network = ResNetDiscriminator((1, 16, 16), 4, minibatch=MinibatchStandardDeviation)
    assert network.score.in_features == 5
    x = torch.rand(4, 1, 16, 16)
    assert (network(x)[:2] - network(x[:2])).abs().max() > 1e-6
