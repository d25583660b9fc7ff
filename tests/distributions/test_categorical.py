import pytest
import torch

from lit_gen.distributions.categorical import CategoricalHead
from lit_gen.errors import UserError

LEVELS = torch.arange(256) / 255


def test_probabilities_of_all_levels_sum_to_one_and_give_the_mean():
    torch.manual_seed(0)
    head = CategoricalHead()
    assert head.params_per_output == 256
    p = head((3 * torch.randn(1, 256, 1)).expand(256, 256, 1))
    probability = p.log_prob(LEVELS[:, None]).exp()
    assert probability.sum().item() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close((probability * LEVELS).sum(), p.mean[0, 0])


def test_level_k_has_the_kth_logit_and_pixels_are_summed():
    logits = torch.randn(2, 256, 1, 2, 2)
    level = torch.randint(256, (2, 1, 2, 2))
    expected = logits.log_softmax(1).gather(1, level.unsqueeze(1)).sum((1, 2, 3, 4))
    torch.testing.assert_close(CategoricalHead()(logits).log_prob(level / 255), expected)
    torch.testing.assert_close(CategoricalHead()(logits).log_prob(level.double() / 255), expected)


def test_values_between_levels_count_as_the_nearest():
    logits = torch.randn(1, 256, 3)
    near = torch.tensor([[3.4, 3.6, 255.0]]) / 255
    exact = torch.tensor([[3.0, 4.0, 255.0]]) / 255
    p = CategoricalHead()(logits)
    assert p.log_prob(near).item() == p.log_prob(exact).item()


def test_draws_are_levels_in_the_right_shares():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 1, 3)
    p = CategoricalHead(4)(logits)
    draws = p.sample((3, 10_000))
    assert draws.shape == (3, 10_000, 2, 1, 3)
    shares = torch.stack([(draws * 3 == k).float().mean((0, 1)) for k in range(4)], 1)
    torch.testing.assert_close(shares, logits.softmax(1), atol=0.015, rtol=0)
    assert p.sample().shape == (2, 1, 3)
    wide = CategoricalHead()(torch.zeros(1, 256, 500)).sample((20,))
    torch.testing.assert_close(wide * 255, (wide * 255).round(), atol=1e-4, rtol=0)


def test_extreme_logits_stay_finite():
    logits = torch.zeros(1, 256, 2)
    logits[0, 7] = 1e5
    logits[0, 8] = -1e5
    logits.requires_grad_()
    log_prob = CategoricalHead()(logits).log_prob(torch.tensor([[7.0, 8.0]]) / 255)
    assert log_prob.item() == pytest.approx(-2e5)
    log_prob.sum().backward()
    assert logits.grad.isfinite().all()


def test_gradients_against_finite_differences():
    logits = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.0, 0.25, 1.0], [0.5, 0.75, 0.25]])
    assert torch.autograd.gradcheck(lambda a: CategoricalHead(5)(a).log_prob(x), logits)


def test_says_what_it_needs():
    with pytest.raises(UserError, match=r"a CategoricalHead needs .* params_per_output 256"):
        CategoricalHead()(torch.zeros(2, 3, 4))
    with pytest.raises(UserError, match="num_levels must be at least 2, got 1"):
        CategoricalHead(1)
