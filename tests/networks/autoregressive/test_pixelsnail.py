"""PixelSNAIL: what its convolutions and its attention see."""

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.pixelsnail import PixelSNAIL, attend_to_pixels_before


def pixelsnail(event_shape=(3, 4, 3), **kwargs) -> PixelSNAIL:
    torch.manual_seed(0)
    network = PixelSNAIL(event_shape, 2, channels=6, num_blocks=2, key_dim=2, value_dim=3, **kwargs).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def test_attention_is_a_softmax_over_the_pixels_before_and_a_key_of_zeros():
    query, key, value = (torch.randn(2, dim, 3, 4, dtype=torch.float64) for dim in (5, 5, 2))
    seen = attend_to_pixels_before(query, key, value).flatten(2)
    query, key, value = (part.flatten(2) for part in (query, key, value))
    for example in range(2):
        for pixel in range(12):
            scores = [query[example, :, pixel] @ key[example, :, other] / 5**0.5 for other in range(pixel)]
            shares = torch.stack([torch.tensor(0.0, dtype=torch.float64), *scores]).softmax(0)[1:]
            expected = sum((shares[other] * value[example, :, other] for other in range(pixel)), torch.zeros(2))
            torch.testing.assert_close(seen[example, :, pixel], expected.double())


def test_without_attention_the_convolutions_see_up_and_left_and_one_pixel_to_the_right():
    network = pixelsnail((1, 4, 5), num_residual=1).eval()
    for block in network.blocks:
        nn.init.zeros_(block.merge.beside.weight)
    x = torch.rand(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[0, :, 0, 2, 2].sum(), x)
    expected = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    assert torch.equal(gradient[0, 0] != 0, expected)


def test_with_dropout_training_sees_no_more():
    network = pixelsnail(dropout=0.5).train()
    x = torch.rand(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    params = network(x).flatten(2)
    for cell in range(network.num_cells):
        (gradient,) = torch.autograd.grad(params[:, :, cell].sum(), x, retain_graph=True)
        assert (gradient.flatten(2)[:, :, cell:] == 0).all()
    assert not torch.equal(params, network(x).flatten(2))


def test_training_without_dropout_computes_what_evaluation_does():
    network, x = pixelsnail(), torch.rand(2, 3, 4, 3, dtype=torch.float64)
    assert torch.equal(network.train()(x), network.eval()(x))


def test_the_first_pixel_is_told_from_nothing():
    network = pixelsnail(num_classes=2)
    x, label = torch.rand(4, 3, 4, 3, dtype=torch.float64), torch.tensor([0, 0, 1, 1])
    first = network(x, label)[:, :, 0, 0, 0]
    torch.testing.assert_close(first[0], first[1])
    torch.testing.assert_close(first[2], first[3])
    assert not torch.allclose(first[0], first[2])


def test_untrained_and_deep_it_passes_on_finite_features_and_gradients():
    torch.manual_seed(0)
    network = PixelSNAIL((1, 8, 8), channels=16, num_blocks=12, num_residual=4)
    params = network(torch.rand(4, 1, 8, 8))
    params.square().sum().backward()
    assert 1e-3 < params.std() < 10
    assert max(parameter.grad.abs().max() for parameter in network.parameters()) < 1e4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"event_shape": (1, 4, 4), "key_dim": 0}, "key_dim must be at least 1"),
        ({"event_shape": (1, 4, 4), "dropout": -0.1}, r"dropout must be in \[0, 1\)"),
        ({"event_shape": 4}, "goes by pixels of images"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        PixelSNAIL(**arguments)
