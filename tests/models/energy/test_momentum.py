"""The momentum's schedule."""

import pytest

from lit_gen.errors import UserError
from lit_gen.models.energy.momentum import MomentumChange


def test_changes_once_at_its_step():
    schedule = MomentumChange(step=3, before=0.5, after=0.9)
    assert [schedule(step) for step in range(5)] == [0.5, 0.5, 0.5, 0.9, 0.9]


@pytest.mark.parametrize("wrong", [{"step": -1}, {"step": 1, "before": 1.0}, {"step": 1, "after": -0.1}])
def test_refuses_numbers_out_of_range(wrong):
    with pytest.raises(UserError, match="must be"):
        MomentumChange(**wrong)
