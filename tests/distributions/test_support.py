"""Values that a likelihood is not of, told in one line."""

import pytest
import torch

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.categorical import CategoricalHead
from lit_gen.distributions.continuous_bernoulli import ContinuousBernoulliHead
from lit_gen.distributions.discretized_logistic import DiscretizedLogisticHead
from lit_gen.distributions.discretized_logistic_mixture import DiscretizedLogisticMixtureHead
from lit_gen.distributions.support import nearest_level
from lit_gen.errors import UserError

DISCRETIZED = [CategoricalHead(), DiscretizedLogisticHead(), DiscretizedLogisticMixtureHead()]
ALL = [BernoulliHead(), ContinuousBernoulliHead(), *DISCRETIZED]


def name(head):
    return type(head).__name__


@pytest.mark.parametrize("head", ALL, ids=name)
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_values_outside_the_unit_interval_are_refused(head, value):
    x = torch.zeros(2, 1, 3, 3)
    head.check(x)
    x[1, 0, 2, 2] = value
    with pytest.raises(UserError, match=rf"{name(head)} is a likelihood of values in \[0, 1\], but the data") as error:
        head.check(x)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("head", DISCRETIZED, ids=name)
def test_values_that_are_no_level_are_refused(head):
    levels = torch.arange(256)
    for dtype in (torch.float32, torch.float64, torch.float16):
        head.check((levels.double() / 255).to(dtype))
    with pytest.raises(UserError, match=rf"{name(head)} is a likelihood of the 256 levels k/255, .* hold 0.3343"):
        head.check(torch.tensor([[0.0, 1.0, 1 / 3 + 1e-3]]))


@pytest.mark.parametrize("head", ALL[:2], ids=name)
def test_densities_take_any_grey(head):
    head.check(torch.rand(3, 4))


def test_other_numbers_of_levels():
    """Digits have 17 grey levels, kept as bytes."""
    stored = (torch.arange(17) * 255 / 16).round() / 255
    CategoricalHead(17).check(stored)
    assert nearest_level(stored, 17).tolist() == list(range(17))
    with pytest.raises(UserError, match="17 levels k/16"):
        CategoricalHead(17).check(torch.arange(256) / 255)


def test_every_byte_finds_its_level():
    assert nearest_level(torch.arange(256) / 255, 256).tolist() == list(range(256))
