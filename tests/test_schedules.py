import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from lit_gen.errors import UserError
from lit_gen.schedules import CosineAnnealing


def test_holds_then_goes_down_half_a_cosine_and_stays():
    weight = CosineAnnealing(100, start=1.0, end=0.2, hold=0.4)
    assert [weight(step) for step in (0, 17, 40, 100, 1000)] == pytest.approx([1.0, 1.0, 1.0, 0.2, 0.2])
    assert weight(70) == pytest.approx(0.6)
    assert weight(55) == pytest.approx(0.2 + 0.4 * (1 + 0.5**0.5))


def test_rests_at_the_end_for_a_share_of_the_steps():
    weight = CosineAnnealing(100, start=1.0, end=0.2, hold=0.2, rest=0.3)
    assert [weight(step) for step in (0, 20, 45, 70, 85, 100)] == pytest.approx([1.0, 1.0, 0.6, 0.2, 0.2, 0.2])


def test_as_a_learning_rate_it_is_torchs_cosine():
    def rates(make):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
        schedule, seen = make(optimizer), []
        for _ in range(20):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return seen

    ours = rates(lambda optimizer: LambdaLR(optimizer, CosineAnnealing(20)))
    assert ours == pytest.approx(rates(lambda optimizer: CosineAnnealingLR(optimizer, 20)))


@pytest.mark.parametrize(
    "bad", [{"num_steps": 0}, {"hold": 1.0}, {"hold": -0.1}, {"rest": -0.1}, {"hold": 0.5, "rest": 0.5}]
)
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(UserError, match="a CosineAnnealing needs num_steps"):
        CosineAnnealing(**({"num_steps": 10} | bad))
