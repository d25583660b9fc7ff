import pytest
import torch

from lit_gen.metrics.active_coordinates import active_coordinates


def test_a_coordinate_is_active_from_the_least_variance_on():
    codes = torch.tensor([[-1.0, 3.0, 0.1], [1.0, 3.0, -0.1]])  # variances 1, 0, 0.01
    assert active_coordinates(codes, 1.0).tolist() == [True, False, False]
    assert active_coordinates(codes, 0.005).tolist() == [True, False, True]
    assert active_coordinates(codes, 0.0).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_is_not_active_whatever_rounding_makes_of_its_variance(dtype):
    codes = torch.full((1000, 2), 0.1, dtype=dtype)
    codes[3, 1] += 1e-3
    assert active_coordinates(codes, 0.0).tolist() == [False, True]
