"""One learned scale for all elements."""

import pytest
import torch

from lit_gen.distributions.laplace import LaplaceHead
from lit_gen.distributions.location_scale import LearnedScale
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.errors import UserError

HEADS = [NormalHead, LaplaceHead]


@pytest.mark.parametrize("head", HEADS)
def test_it_is_the_fixed_scale_of_its_value(head):
    params, x = torch.randn(4, 1, 3, 3), torch.rand(4, 1, 3, 3)
    learned = head(LearnedScale(0.3))
    assert learned.params_per_output == 1
    torch.testing.assert_close(learned(params).log_prob(x), head(0.3)(params).log_prob(x))
    assert len(list(learned.parameters())) == 1


@pytest.mark.parametrize(("head", "power"), zip(HEADS, (2, 1), strict=True))
def test_the_density_is_greatest_where_the_scale_is_the_error(head, power):
    """Rybkin et al. (2021), Eq. 4: sigma^2 = MSE; of Laplace, the mean absolute error."""
    torch.manual_seed(0)
    loc, x = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    best = (x - loc).abs().pow(power).mean().pow(1 / power).item()
    gradients = []
    for factor in (0.9, 1.0, 1.1):
        likelihood = head(LearnedScale(factor * best, min_scale=0.0)).double()
        (-likelihood(loc).log_prob(x).sum()).backward()
        gradients.append(likelihood.scale.log_scale.grad.item())
    assert gradients[0] < -1
    assert gradients[1] == pytest.approx(0.0, abs=1e-5)
    assert gradients[2] > 1


def test_it_stays_above_its_floor_and_starts_where_it_is_told():
    scale = LearnedScale(0.5, min_scale=0.1)
    assert scale().item() == pytest.approx(0.5)
    scale.log_scale.data.fill_(-100.0)
    assert scale().item() == pytest.approx(0.1)
    assert LearnedScale().bfloat16()().dtype == torch.float32


@pytest.mark.parametrize("arguments", [(0.0, 0.0), (0.1, 0.1), (1.0, -0.1)])
def test_refuses_what_is_no_scale(arguments):
    with pytest.raises(UserError, match="0 <= min_scale < initial"):
        LearnedScale(*arguments)


def test_elementwise_terms_add_up_to_the_event():
    q = DiagonalNormal(torch.randn(4, 3), torch.rand(4, 3) + 0.1)
    each = q.elementwise()
    assert (each.batch_shape, each.event_shape) == ((4, 3), ())
    x = torch.randn(4, 3)
    torch.testing.assert_close(each.log_prob(x).sum(1), q.log_prob(x))
