import pytest
import torch

from lit_gen.distributions.discretized_logistic import DiscretizedLogisticHead, logistic_level_log_prob
from lit_gen.distributions.discretized_logistic_mixture import DiscretizedLogisticMixtureHead
from lit_gen.errors import UserError

LEVELS = torch.arange(256) / 255


def bimodal():
    """Six parameters of a share of 0.3 near black and 0.7 near white."""
    return [*torch.tensor([0.3, 0.7]).log().tolist(), -0.8, 0.6, -3.0, -2.0]


def test_probabilities_of_all_levels_sum_to_one_and_give_the_mean():
    torch.manual_seed(0)
    for params in (torch.tensor(bimodal()), torch.randn(15) * 3):
        p = DiscretizedLogisticMixtureHead(len(params) // 3)(params.view(1, -1, 1).expand(256, -1, 1))
        probability = p.log_prob(LEVELS[:, None]).exp()
        assert probability.sum().item() == pytest.approx(1.0, abs=2e-5)
        assert (probability * LEVELS).sum().item() == pytest.approx(p.mean[0, 0].item(), abs=2e-5)


def test_the_parameters_are_logits_then_locations_then_scales():
    torch.manual_seed(0)
    params, x = torch.randn(4, 9, 3, 2, 2), torch.randint(256, (4, 3, 2, 2)) / 255
    head = DiscretizedLogisticMixtureHead(3)
    assert head.params_per_output == 9
    probability = torch.zeros(4, 3, 2, 2)
    for m in range(3):
        log_scale = (params[:, 6 + m].exp() + head.min_scale).log()
        of_component = logistic_level_log_prob(x, params[:, 3 + m], log_scale).exp()
        probability += params[:, :3].softmax(1)[:, m] * of_component
    torch.testing.assert_close(head(params).log_prob(x), probability.log().sum((1, 2, 3)))


def test_one_component_is_the_plain_one():
    params, x = torch.randn(3, 2, 5), torch.randint(256, (3, 5)) / 255
    with_logit = torch.cat([torch.randn(3, 1, 5), params], 1)
    one, plain = DiscretizedLogisticMixtureHead(1)(with_logit), DiscretizedLogisticHead()(params)
    torch.testing.assert_close(one.log_prob(x), plain.log_prob(x))
    torch.testing.assert_close(one.mean, plain.mean)


def test_draws_are_levels_in_the_right_shares():
    torch.manual_seed(0)
    p = DiscretizedLogisticMixtureHead(2)(torch.tensor(bimodal()).view(1, 6, 1))
    draws = p.sample((2, 20_000))
    assert draws.shape == (2, 20_000, 1, 1)
    level = draws.flatten() * 255
    torch.testing.assert_close(level, level.round(), atol=1e-4, rtol=0)
    seen = torch.bincount(level.round().long(), minlength=256) / 40_000
    probability = DiscretizedLogisticMixtureHead(2)(torch.tensor(bimodal()).view(1, 6, 1).expand(256, 6, 1))
    torch.testing.assert_close(
        seen.cumsum(0), probability.log_prob(LEVELS[:, None]).exp().cumsum(0), atol=0.012, rtol=0
    )


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_parameters_stay_finite_in_single_precision(size):
    torch.manual_seed(0)
    params = (size * torch.randn(256, 9, 4)).requires_grad_()
    p = DiscretizedLogisticMixtureHead(3)(params)
    log_prob = p.log_prob(LEVELS[:, None].expand(256, 4))
    assert log_prob.isfinite().all()
    log_prob.sum().backward()
    assert params.grad.isfinite().all()
    draws = p.sample()
    assert draws.min() >= 0
    assert draws.max() <= 1


def test_gradients_against_finite_differences():
    torch.manual_seed(0)
    params = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.0, 100.0, 255.0], [255.0, 3.0, 0.0]], dtype=torch.float64) / 255
    assert torch.autograd.gradcheck(lambda a: DiscretizedLogisticMixtureHead(2)(a).log_prob(x), params)


def test_says_what_it_needs():
    with pytest.raises(UserError, match=r"a DiscretizedLogisticMixtureHead needs .* params_per_output 30"):
        DiscretizedLogisticMixtureHead()(torch.zeros(2, 3, 4))
    with pytest.raises(UserError, match="num_components must be at least 1, got 0"):
        DiscretizedLogisticMixtureHead(0)
