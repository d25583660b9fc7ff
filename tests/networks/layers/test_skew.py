import pytest
import torch

from lit_gen.networks.layers.skew import skew, unskew

SIZES = [(4, 3), (3, 5), (1, 6), (6, 1), (1, 1)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_diagonals_hold_their_cells_and_zeros(height, width):
    x = torch.rand(2, height, width, 3)
    expected = torch.zeros(width + height - 1, 2, height, 3)
    for row in range(height):
        for column in range(width):
            expected[row + column, :, row] = x[:, row, column]
    assert torch.equal(skew(x), expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_unskewing_undoes_it_and_drops_what_lies_outside(height, width):
    x = torch.rand(2, height, width, 3)
    diagonals = skew(x)
    assert torch.equal(unskew(diagonals), x)
    outside = skew(torch.ones_like(x)) == 0
    assert torch.equal(unskew(diagonals + outside), x)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_gradients(height, width):
    x = torch.rand(2, height, width, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(skew, x)
    assert torch.autograd.gradcheck(unskew, skew(x).detach().requires_grad_())


def test_memory_in_another_order_is_read_rightly():
    x = torch.rand(3, 4, 2, 5).permute(2, 0, 1, 3)
    assert torch.equal(skew(x), skew(x.contiguous()))
    diagonals = skew(x).transpose(1, 3).contiguous().transpose(1, 3)
    assert torch.equal(unskew(diagonals), x)
