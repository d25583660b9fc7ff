import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.metrics.code_quantization import CodeRange, UniformQuantizer


def quantizer(bits: int, low=(-1.0, 0.0), high=(1.0, 10.0)) -> UniformQuantizer:
    return UniformQuantizer(torch.tensor(low), torch.tensor(high), bits)


def test_one_bit_is_two_halves():
    z = torch.tensor([[-1.0, 0.0], [-0.01, 4.9], [0.01, 5.1], [1.0, 10.0]])
    assert quantizer(1).indices(z).tolist() == [[0, 0], [0, 0], [1, 1], [1, 1]]
    assert quantizer(1).values(quantizer(1).indices(z)).tolist() == [[-0.5, 2.5]] * 2 + [[0.5, 7.5]] * 2


@pytest.mark.parametrize("bits", [1, 4, 6, 12, 16])
def test_a_code_is_off_by_half_a_cell_at_most(bits):
    z = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 10.0])
    z = z + torch.tensor([-1.0, 0.0])
    made = quantizer(bits)
    indices = made.indices(z)
    assert int(indices.min()) >= 0 and int(indices.max()) < 2**bits
    off = (made.values(indices) - z).abs().amax(0) / torch.tensor([2.0, 10.0]) * 2**bits
    assert (off <= 0.51).all() and (off >= 0.45).all()  # and not by less than the bits make it
    assert torch.equal(made.indices(made.values(indices)), indices)


def test_codes_beyond_the_range_take_the_outermost_cell():
    assert quantizer(4).indices(torch.tensor([[-9.0, 99.0], [1.0, 10.0]])).tolist() == [[0, 15], [15, 15]]


def test_a_coordinate_that_never_varies_keeps_its_value():
    made = quantizer(4, low=(0.3, 0.0), high=(0.3, 1.0))
    assert made.values(made.indices(torch.tensor([[0.3, 0.5]])))[0, 0] == pytest.approx(0.3)


@pytest.mark.parametrize("bits", [0, -1, 17])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(UserError, match=f"1 to 16 bits a number, not {bits}"):
        quantizer(bits)


def test_the_range_is_over_all_batches():
    z = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    metric = CodeRange(3)
    for part in z.split(40):
        metric.update(part)
    low, high = metric.compute()
    assert torch.equal(low, z.amin(0)) and torch.equal(high, z.amax(0))


@pytest.mark.parametrize("num_coordinates", [1, 2])
def test_a_range_has_an_end_for_each_coordinate(num_coordinates):
    found = CodeRange(num_coordinates)
    codes = torch.randn(20, num_coordinates)
    for part in codes.split(7):
        found.update(part)
    low, high = found.ends()
    assert torch.equal(low, codes.amin(0)) and torch.equal(high, codes.amax(0))
    assert low.shape == high.shape == (num_coordinates,)
