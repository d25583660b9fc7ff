import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.conv import ConvDecoder, ConvEncoder

SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (1, 64, 64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("params", "leading"), [(1, ()), (2, (2,))])
def test_maps_images_to_codes_and_back_at_every_size(shape, params, leading):
    encoder = ConvEncoder(shape, 5, params_per_output=params, base_channels=2)
    decoder = ConvDecoder(5, shape, params_per_output=params, base_channels=2)
    assert encoder(torch.rand(3, *shape)).shape == (3, *leading, 5)
    assert decoder(torch.randn(3, 5)).shape == (3, *leading, *shape)


@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 28, 32), (3, 128, 128), (28, 28)])
def test_refuses_other_sizes(shape):
    with pytest.raises(UserError, match="ConvEncoder works on square images"):
        ConvEncoder(shape, 5)
    with pytest.raises(UserError, match="ConvDecoder works on square images"):
        ConvDecoder(5, shape)


def test_every_pixel_reaches_the_code_and_every_code_reaches_the_pixels():
    encoder, decoder = ConvEncoder((1, 28, 28), 3, base_channels=4), ConvDecoder(3, (1, 28, 28), base_channels=4)
    x = torch.rand(1, 1, 28, 28, requires_grad=True)
    encoder(x).pow(2).sum().backward()
    assert (x.grad != 0).float().mean() > 0.95  # a dead rectifier may hide a few
    z = torch.randn(1, 3, requires_grad=True)
    decoder(z).pow(2).sum().backward()
    assert (z.grad != 0).all()
