import pytest
import torch

from lit_gen.networks.layers.concat_elu import concat_elu
from lit_gen.networks.layers.shifted_conv import (
    CONCAT_ELU_SQUARE,
    ShiftedConv2d,
    ShiftedConvTranspose2d,
    shift_down,
    shift_right,
)


def seen_by(layer, place, size=(7, 7), *args):
    """The places of the input that one of the output depends on."""
    x = torch.randn(1, 2, *size, requires_grad=True)
    y, column = place
    (gradient,) = torch.autograd.grad(layer(x, *args)[0, :, y, column].sum(), x)
    return {tuple(place) for place in (gradient[0] != 0).any(0).nonzero().tolist()}


@pytest.mark.parametrize(
    ("kernel_size", "columns"), [((2, 3), (-1, 0, 1)), ((2, 2), (-1, 0)), ((1, 3), (-1, 0, 1)), ((2, 1), (0,))]
)
def test_it_sees_the_row_above_and_no_row_below(kernel_size, columns):
    layer = ShiftedConv2d(2, 3, kernel_size)
    rows = (0,) if kernel_size[0] == 1 else (-1, 0)
    assert seen_by(layer, (3, 4)) == {(3 + row, 4 + column) for row in rows for column in columns}
    assert layer(torch.zeros(1, 2, 5, 6)).shape == (1, 3, 5, 6)


@pytest.mark.parametrize(("kernel_size", "columns"), [((2, 3), (-1, 0, 1)), ((2, 2), (-1, 0))])
def test_with_a_stride_it_keeps_even_places(kernel_size, columns):
    layer = ShiftedConv2d(2, 3, kernel_size, stride=2)
    assert seen_by(layer, (1, 2)) == {(2 + row, 4 + column) for row in (-1, 0) for column in columns}
    for height, width in [(1, 1), (2, 3), (5, 4), (1, 6)]:
        out = layer(torch.zeros(1, 2, height, width))
        assert out.shape[2:] == ((height + 1) // 2, (width + 1) // 2)


def test_transposed_it_tells_squares():
    layer = ShiftedConvTranspose2d(2, 3, (2, 2))
    for place in [(4, 2), (4, 3), (5, 2), (5, 3)]:
        assert seen_by(layer, place, (4, 4), (7, 7)) == {(2, 1)}
    wide = ShiftedConvTranspose2d(2, 3, (2, 3))
    assert seen_by(wide, (5, 2), (4, 4), (7, 7)) == {(2, 1)}
    assert seen_by(wide, (5, 3), (4, 4), (7, 7)) == {(2, 1), (2, 2)}
    for size in [(1, 1), (5, 4), (6, 7)]:
        for kernel in ((2, 2), (2, 3)):
            x = torch.zeros(1, 2, (size[0] + 1) // 2, (size[1] + 1) // 2)
            assert ShiftedConvTranspose2d(2, 3, kernel)(x, size).shape == (1, 3, *size)


def test_outputs_begin_with_the_variance_that_is_asked_for():
    torch.manual_seed(0)
    x = torch.randn(8, 64, 16, 16)
    assert concat_elu(x).square().mean().item() == pytest.approx(CONCAT_ELU_SQUARE, abs=0.01)
    for gain in (1.0, 0.1):
        out = ShiftedConv2d(128, 64, (2, 3), gain=gain)(concat_elu(x))
        assert out[:, :, 1:, 1:-1].std().item() == pytest.approx(gain, rel=0.2)
    for kernel in ((2, 2), (2, 3)):
        out = ShiftedConvTranspose2d(64, 64, kernel)(x, (32, 32))
        assert out.std().item() == pytest.approx(1.0, rel=0.2)


def test_shifts():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert shift_down(x).flatten().tolist() == [0, 0, 0, 0, 1, 2]
    assert shift_right(x).flatten().tolist() == [0, 0, 1, 0, 3, 4]


def test_concat_elu_has_both_signs():
    x = torch.tensor([[1.0, -2.0]], requires_grad=True)
    features = concat_elu(x)
    expected = torch.tensor([[1.0, torch.tensor(-2.0).expm1(), torch.tensor(-1.0).expm1(), 2.0]])
    torch.testing.assert_close(features, expected)
    features.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[1 - torch.tensor(-1.0).exp(), torch.tensor(-2.0).exp() - 1]]))
