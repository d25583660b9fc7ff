import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.conv import ConvDecoder, ConvEncoder
from lit_gen.networks.layers.pyramid import halvings

SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (1, 64, 64), (1, 28, 20), (3, 25, 31), (1, 9, 64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("params", "leading"), [(1, ()), (2, (2,))])
def test_maps_images_to_codes_and_back_at_every_size(shape, params, leading):
    encoder = ConvEncoder(shape, 5, params_per_output=params, base_channels=2)
    decoder = ConvDecoder(5, shape, params_per_output=params, base_channels=2)
    assert encoder(torch.rand(3, *shape)).shape == (3, *leading, 5)
    assert decoder(torch.randn(3, 5)).shape == (3, *leading, *shape)


@pytest.mark.parametrize("shape", [(1, 7, 12), (1, 28, 65), (0, 32, 32), (28, 28)])
def test_refuses_other_sizes(shape):
    with pytest.raises(UserError, match="ConvEncoder works on images"):
        ConvEncoder(shape, 5)
    with pytest.raises(UserError, match="ConvDecoder works on images"):
        ConvDecoder(5, shape)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 28, 20), (1, 25, 31)])
def test_every_pixel_reaches_the_code_and_every_code_reaches_the_pixels(shape):
    torch.manual_seed(0)
    encoder, decoder = ConvEncoder(shape, 3, base_channels=8), ConvDecoder(3, shape, base_channels=8)
    x = torch.rand(8, *shape, requires_grad=True)
    encoder(x).pow(2).sum().backward()
    assert (x.grad != 0).any(0).float().mean() == 1  # a dead rectifier may hide a pixel in one of them
    z = torch.randn(8, 3, requires_grad=True)
    decoder(z).pow(2).sum().backward()
    assert (z.grad != 0).all()
    pixels = decoder(torch.randn(8, 3))
    assert (pixels.std(0) > 0).all(), "rows and columns that halving lost depend on the code too"


def test_square_images_keep_the_pyramid_that_checkpoints_know():
    for side, base in ((8, 4), (28, 7), (32, 4), (64, 4)):
        sizes = halvings("a network", (1, side, side), 64)
        assert sizes[-1] == (base, base)
        assert side == base * 2 ** (len(sizes) - 1)
    assert halvings("a network", (1, 28, 20), 64) == [(28, 20), (14, 10), (7, 5)]
    keys = [key for key in ConvDecoder(3, (1, 16, 16), base_channels=2).state_dict() if key.endswith("weight")]
    assert keys == ["project.0.weight", "layers.0.weight", "layers.2.weight"]
