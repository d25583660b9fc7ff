"""What a masked convolution sees: nothing below, nothing to the right, and of the pixel the channels before."""

import pytest
import torch
import torch.nn.functional as F

from lit_gen.errors import UserError
from lit_gen.networks.layers.masked_conv import MaskedConv2d, feature_groups


def seen(layer: MaskedConv2d, size: int = 7) -> torch.Tensor:
    """(out_channels, in_channels, size, size) bool: on what the middle pixel's features depend."""
    x = torch.rand(1, layer.in_channels, size, size, dtype=torch.float64, requires_grad=True)
    middle = layer.double()(x)[0, :, size // 2, size // 2]
    return torch.stack([torch.autograd.grad(value, x, retain_graph=True)[0][0] != 0 for value in middle])


@pytest.mark.parametrize("mask", ["A", "B"])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (1, 5), (1, 1), (3, 1), (7, 7)])
def test_of_space_it_sees_all_of_the_kernel_that_comes_before(kernel, mask):
    rows, columns = (side // 2 for side in kernel)
    expected = torch.zeros(7, 7, dtype=torch.bool)
    expected[3 - rows : 3, 3 - columns : 3 + columns + 1] = True
    expected[3, 3 - columns : 3] = True
    expected[3, 3] = mask == "B"
    torch.manual_seed(0)
    assert torch.equal(seen(MaskedConv2d(2, 3, kernel, mask)), expected.expand(3, 2, 7, 7))


def test_of_a_pixel_red_green_and_blue_see_those_before_them_and_in_deeper_layers_themselves():
    before = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    itself = torch.eye(3, dtype=torch.bool)
    for mask, expected in (("A", before), ("B", before | itself)):
        sees = seen(MaskedConv2d(3, 3, 3, mask, num_groups=3))
        assert torch.equal(sees[:, :, 3, 3], expected)
        assert sees[:, :, 2, 2:5].all()
        assert sees[:, :, 3, 2].all()


@pytest.mark.parametrize(("width", "sizes"), [(6, [2, 2, 2]), (7, [3, 2, 2]), (8, [3, 3, 2]), (3, [1, 1, 1])])
def test_features_are_divided_in_runs_at_any_width(width, sizes):
    groups = feature_groups(width, 3)
    assert groups.bincount().tolist() == sizes
    assert groups.tolist() == sorted(groups.tolist())
    sees = seen(MaskedConv2d(width, width, 3, "B", num_groups=3))[:, :, 3, 3]
    assert torch.equal(sees, groups.unsqueeze(1) >= groups)


def test_each_part_of_the_output_is_divided_for_itself():
    layer = MaskedConv2d(3, 8, 1, "B", num_groups=3, num_parts=2)
    groups = torch.tensor([0, 0, 1, 2, 0, 0, 1, 2])
    assert torch.equal(seen(layer)[:, :, 3, 3], groups.unsqueeze(1) >= torch.arange(3))


def test_parameters_of_one_channel_after_the_other_fall_to_the_channels():
    assert feature_groups(12, 3).tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5), (5, 3), (1, 1)])
@pytest.mark.parametrize("mask", ["A", "B"])
def test_it_is_a_convolution_with_the_whole_masked_kernel(kernel, mask):
    torch.manual_seed(0)
    layer = MaskedConv2d(4, 6, kernel, mask, num_groups=2).double()
    whole = torch.zeros(6, 4, *kernel, dtype=torch.float64)
    rows, columns = layer.kernel_size
    whole[:, :, :rows, :columns] = layer.masked_weight.detach()
    x = torch.rand(2, 4, 5, 6, dtype=torch.float64)
    padding = (kernel[0] // 2, kernel[1] // 2)
    torch.testing.assert_close(layer(x), F.conv2d(x, whole, layer.bias, padding=padding))


@pytest.mark.parametrize("mask", ["A", "B"])
@pytest.mark.parametrize("num_parts", [1, 2])
def test_its_taps_above_and_in_the_row_add_up_to_what_it_computes(mask, num_parts):
    torch.manual_seed(0)
    layer = MaskedConv2d(5, 8, (5, 3), mask, num_groups=3, num_parts=num_parts).double()
    x = torch.rand(2, 5, 5, 6, dtype=torch.float64)
    above = torch.einsum("ncij,ocij->no", x[:, :, 1:3, 1:4], layer.weight_above)
    in_row = x[:, :, 3, 1:3].transpose(1, 2).flatten(1)  # the pixel to the left, and the pixel itself
    whole = layer(x)[:, :, 3, 2]
    taps = layer.row_taps()
    assert torch.cat([group.features for group in taps]).sort().values.tolist() == list(range(8))
    for features, weight in taps:
        seen = in_row[:, : len(weight)] @ weight
        torch.testing.assert_close((layer.bias + above)[:, features] + seen, whole[:, features])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 8, 4, "A"), "odd"),
        ((1, 8, (3, 2), "A"), "odd"),
        ((1, 8, 3, "C"), "A or B, not C"),
        ((3, 2, 3, "A", 3), "2 features cannot be divided among 3 channels"),
        ((3, 7, 3, "A", 3, 2), "2 equal parts"),
    ],
)
def test_it_refuses_what_cannot_be(arguments, message):
    with pytest.raises(UserError, match=message):
        MaskedConv2d(*arguments)
