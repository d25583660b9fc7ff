import math

import pytest

from lit_gen.metrics.bits_per_dim import bits_per_dim


def test_a_uniform_distribution_over_256_levels_costs_8_bits_a_dimension():
    assert bits_per_dim(3072 * math.log(256), 3072) == pytest.approx(8.0, rel=1e-12)


def test_refuses_an_event_without_dimensions():
    with pytest.raises(ValueError, match="at least 1"):
        bits_per_dim(1.0, 0)
