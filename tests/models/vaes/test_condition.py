import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.models.vaes.condition import ClassLabel, GivenHalf


@pytest.mark.parametrize(
    ("side", "given"),
    [("left", [0, 1, 4, 5]), ("right", [2, 3, 6, 7]), ("top", [0, 1, 2, 3]), ("bottom", [4, 5, 6, 7])],
)
def test_a_half_and_the_rest_make_the_whole(side, given):
    x = torch.arange(8.0).view(1, 1, 2, 4)
    condition = GivenHalf((1, 2, 4), side)
    c, rest = condition.given(x, None), condition.rest(x)
    assert c.flatten().tolist() == given
    assert sorted([*c.flatten().tolist(), *rest.flatten().tolist()]) == list(range(8))
    assert tuple(c.shape[1:]) == condition.shape
    assert torch.equal(condition.whole(rest, c), x)
    assert side in condition.description


@pytest.mark.parametrize(("shape", "side"), [((1, 4, 5), "left"), ((1, 5, 4), "top"), ((4,), "left")])
def test_what_cannot_be_halved_is_refused(shape, side):
    with pytest.raises(UserError, match="GivenHalf divides"):
        GivenHalf(shape, side)


def test_labels_are_one_hot():
    condition, x = ClassLabel(3), torch.rand(2, 4).double()
    assert condition.given(x, torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert condition.given(x, torch.tensor([2, 0])).dtype == torch.float64
    assert torch.equal(condition.whole(condition.rest(x), None), x)


def test_labels_that_cannot_be_given_are_refused():
    with pytest.raises(UserError, match="at least 1"):
        ClassLabel(0)
    with pytest.raises(UserError, match="these have none"):
        ClassLabel(3).given(torch.rand(2, 4), None)
    with pytest.raises(UserError, match="4 classes"):
        ClassLabel(3).check_classes(4)
    with pytest.raises(UserError, match="no labels"):
        ClassLabel(3).check_classes(None)
    ClassLabel(3).check_classes(2)
    GivenHalf((1, 2, 2)).check_classes(None)
