import math

import pytest

from lit_gen.errors import UserError
from lit_gen.ranges import check_at_least


def test_what_is_large_enough_passes():
    check_at_least("MLP", 1, hidden_dims=[1, 2], params_per_output=1, num_classes=None, no_widths=[])
    check_at_least("WeightClipping", 0.5, limit=0.5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "a MLP's width must be at least 1, got 0"),
        (math.nan, "a MLP's width must be at least 1, got nan"),
        ([3, 0], r"each of a MLP's width must be at least 1, got \[3, 0\]"),
        ((2, -1), r"each of a MLP's width must be at least 1, got \(2, -1\)"),
    ],
)
def test_what_is_too_small_is_named(value, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        check_at_least("MLP", 1, width=value)


def test_an_instance_is_named_by_its_class():
    with pytest.raises(UserError, match="a list's length must be at least 1, got 0"):
        check_at_least([], 1, length=0)
