import pytest
import torch

from lit_gen.networks.layers.skew import skew, unskew


@pytest.mark.parametrize(("height", "width"), [(4, 3), (3, 5), (1, 6), (6, 1), (1, 1)])
def test_a_column_of_the_skewed_map_is_a_diagonal(height, width):
    x = torch.rand(2, 3, height, width)
    expected = torch.zeros(2, 3, height, width + height - 1)
    for row in range(height):
        for column in range(width):
            expected[:, :, row, row + column] = x[:, :, row, column]
    assert torch.equal(skew(x), expected)


@pytest.mark.parametrize(("height", "width"), [(4, 3), (3, 5), (1, 6), (6, 1), (1, 1)])
def test_unskewing_undoes_it(height, width):
    x = torch.rand(2, height, width)
    assert torch.equal(unskew(skew(x)), x)


def test_what_lies_outside_of_the_image_is_dropped():
    skewed = torch.arange(12.0).view(3, 4)  # of an image 3 x 2
    assert unskew(skewed).tolist() == [[0, 1], [5, 6], [10, 11]]
