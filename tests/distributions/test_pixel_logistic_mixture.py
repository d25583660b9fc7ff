import itertools

import pytest
import torch

from lit_gen.distributions.discretized_logistic import logistic_level_log_prob
from lit_gen.distributions.discretized_logistic_mixture import DiscretizedLogisticMixtureHead
from lit_gen.distributions.pixel_logistic_mixture import PixelLogisticMixtureHead
from lit_gen.errors import UserError

LEVELS = torch.arange(256) / 255


def all_pixels(num_levels: int, num_channels: int = 3) -> torch.Tensor:
    """(num_levels ** C, C)."""
    levels = torch.linspace(0, 1, num_levels, dtype=torch.float64)
    return torch.tensor(list(itertools.product(levels.tolist(), repeat=num_channels)), dtype=torch.float64)


def of_one_pixel(head: PixelLogisticMixtureHead, params: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Parameters (Q,), values (K, C) -> (K,) log-probabilities of them."""
    return head(params.view(1, -1, 1, 1).expand(len(x), -1, 1, 1)).log_prob(x.unsqueeze(2))


@pytest.mark.parametrize(("num_levels", "num_channels"), [(2, 3), (6, 3), (9, 2), (17, 1), (3, 4)])
@pytest.mark.parametrize("size", [1.0, 5.0])
def test_probabilities_of_all_values_of_a_pixel_sum_to_one(num_levels, num_channels, size):
    torch.manual_seed(0)
    head = PixelLogisticMixtureHead(3, num_channels, num_levels)
    params = size * torch.randn(head.params_per_output, dtype=torch.float64)
    log_p = of_one_pixel(head, params, all_pixels(num_levels, num_channels))
    assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-9)
    assert log_p.std() > 0.1


def without_last_channel(params: torch.Tensor, num_channels: int) -> torch.Tensor:
    """(10 M,), (6 M,) or the like -> parameters of the channels but the last."""
    num_others = num_channels * (num_channels - 1) // 2
    num_components = len(params) // (1 + 2 * num_channels + num_others)
    logits, *parts = params.split([num_components * size for size in (1, num_channels, num_channels, num_others)])
    kept = (num_channels - 1, num_channels - 1, (num_channels - 1) * (num_channels - 2) // 2)
    parts = [part.view(num_components, -1)[:, :count].flatten() for part, count in zip(parts, kept, strict=True)]
    return torch.cat([logits, *parts])


@pytest.mark.parametrize("given", [(100, 30), (0, 255), (255, 254)])
def test_with_256_levels_probabilities_sum_to_one_along_the_chain(given):
    """Over the levels of the last channel they sum to the probability of those before, and over the first's to 1."""
    torch.manual_seed(0)
    params = torch.randn(100, dtype=torch.float64)
    for num_channels in (3, 2, 1):
        before = torch.tensor(given[: num_channels - 1], dtype=torch.float64) / 255
        pixels = torch.cat([before.expand(256, -1), LEVELS.double().unsqueeze(1)], 1)
        total = of_one_pixel(PixelLogisticMixtureHead(10, num_channels), params, pixels).exp().sum()
        expected = torch.ones(())
        if num_channels > 1:
            params = without_last_channel(params, num_channels)
            expected = of_one_pixel(PixelLogisticMixtureHead(10, num_channels - 1), params, before[None]).exp()
        assert total.item() == pytest.approx(expected.item(), rel=1e-8)


def test_one_channel_is_the_mixture_of_single_values():
    torch.manual_seed(0)
    params, x = torch.randn(4, 9, 1, 3, 2), torch.randint(256, (4, 1, 3, 2)) / 255
    pixel, single = PixelLogisticMixtureHead(3, 1), DiscretizedLogisticMixtureHead(3)
    assert pixel.params_per_output == single.params_per_output == 9
    torch.testing.assert_close(pixel(params).log_prob(x), single(params).log_prob(x))


def test_channels_are_regressed_on_those_before_them():
    """Equation 3, with the parameters in the order that the head says."""
    torch.manual_seed(0)
    head = PixelLogisticMixtureHead(2)
    params, x = torch.randn(5, 20, 1, 2, 2), torch.randint(256, (5, 3, 2, 2)) / 255
    red, green, _ = (2 * x - 1).unbind(1)  # (5, 2, 2) each
    params, probability = params.squeeze(2), torch.zeros(5, 2, 2)
    for m in range(2):
        mu, log_s = params[:, 2 + 3 * m : 5 + 3 * m], params[:, 8 + 3 * m : 11 + 3 * m]
        alpha, beta, gamma = params[:, 14 + 3 * m : 17 + 3 * m].tanh().unbind(1)
        centre = torch.stack([mu[:, 0], mu[:, 1] + alpha * red, mu[:, 2] + beta * red + gamma * green], 1)
        of_channels = logistic_level_log_prob(x, centre, (log_s.exp() + head.min_scale).log())
        probability += params[:, :2].softmax(1)[:, m] * of_channels.sum(1).exp()
    torch.testing.assert_close(head(params.unsqueeze(2)).log_prob(x), probability.log().sum((1, 2)))


def test_draws_are_levels_in_the_right_shares():
    """All 64 values of a pixel of few levels, and the red of one of 256."""
    torch.manual_seed(0)
    head, count = PixelLogisticMixtureHead(2, 3, 4), 40_000
    params = torch.randn(head.params_per_output)
    draws = head(params.view(1, -1, 1, 1)).sample((count,))
    assert draws.shape == (count, 1, 3, 1)
    level = draws[:, 0, :, 0] * 3
    assert torch.equal(level, level.round())
    seen = torch.bincount((level @ torch.tensor([16.0, 4.0, 1.0])).long(), minlength=64)
    assert chi_square(seen, of_one_pixel(head, params.double(), all_pixels(4)).exp() * count) < 5

    params = torch.randn(100)
    draws = PixelLogisticMixtureHead(10)(params.view(1, -1, 1, 1)).sample((count,))
    assert torch.equal((draws * 255).round() / 255, draws)
    mixture = PixelLogisticMixtureHead(10)(params.view(1, -1, 1, 1))
    of_red = logistic_level_log_prob(LEVELS[:, None], mixture.loc[:, :, 0, 0], mixture.log_scale[:, :, 0, 0])
    expected = (mixture.logits[:, :, 0].log_softmax(1) + of_red).logsumexp(1).exp().double() * count
    seen = torch.bincount((draws[:, 0, 0, 0] * 255).round().long(), minlength=256)
    assert chi_square(seen, expected) < 5


def chi_square(seen: torch.Tensor, expected: torch.Tensor) -> float:
    """Pearson's, in standard deviations above its mean, over the values of which 5 or more are expected."""
    often = expected >= 5
    degrees = int(often.sum()) - 1
    statistic = ((seen - expected).square() / expected)[often].sum()
    return float((statistic - degrees) / (2 * degrees) ** 0.5)


def test_draws_of_several_examples_and_pixels_keep_their_places():
    params = torch.zeros(2, 10, 1, 2, 2)
    params[:, 1:4] = torch.tensor([[-1.0, -0.2, 0.6], [0.6, 1.0, -1.0]]).view(2, 3, 1, 1, 1)
    params[1, 2, :, 1, 1] = -0.6
    params[:, 4:7] = -9.0  # hardly any scale
    draws = PixelLogisticMixtureHead(1, num_levels=6)(params).sample((3,))
    expected = (params[:, 1:4, 0] + 1) / 2
    assert draws.shape == (3, 2, 3, 2, 2)
    torch.testing.assert_close(draws, expected.expand(3, -1, -1, -1, -1))


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_parameters_stay_finite_in_single_precision(size):
    torch.manual_seed(0)
    head = PixelLogisticMixtureHead(3)
    params = (size * torch.randn(256, head.params_per_output, 1, 4)).requires_grad_()
    log_prob = head(params).log_prob(LEVELS[:, None, None].expand(256, 3, 4))
    assert log_prob.isfinite().all()
    log_prob.sum().backward()
    assert params.grad.isfinite().all()
    draws = head(params).sample()
    assert torch.equal((draws * 255).round() / 255, draws)
    assert draws.min() >= 0
    assert draws.max() <= 1


def test_gradients_against_finite_differences():
    torch.manual_seed(0)
    head = PixelLogisticMixtureHead(2)
    params = torch.randn(1, head.params_per_output, 1, 2, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[[0, 100], [255, 30], [7, 0]]], dtype=torch.float64) / 255
    assert torch.autograd.gradcheck(lambda a: head(a).log_prob(x), params)


def test_refuses_values_that_are_no_level():
    with pytest.raises(UserError, match="PixelLogisticMixtureHead"):
        PixelLogisticMixtureHead(num_levels=17).check(torch.full((1, 3, 2, 2), 0.51))


def test_says_what_it_needs():
    head = PixelLogisticMixtureHead()
    with pytest.raises(UserError, match=r"tells all channels of a pixel at once, but .* take a network") as error:
        head(torch.zeros(2, 100, 3, 4, 4))
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"a PixelLogisticMixtureHead needs .* params_per_output 100$"):
        head(torch.zeros(2, 30, 1, 4, 4))
    for name in ("num_components", "num_channels"):
        with pytest.raises(UserError, match=f"{name} must be at least 1, got 0"):
            PixelLogisticMixtureHead(**{name: 0})
    with pytest.raises(UserError, match="min_scale must be positive"):
        PixelLogisticMixtureHead(min_scale=0.0)
    with pytest.raises(UserError, match="num_levels"):
        PixelLogisticMixtureHead(num_levels=1)


@pytest.mark.parametrize(("num_channels", "per_component"), [(1, 3), (2, 6), (3, 10)])
def test_params_per_output(num_channels, per_component):
    assert PixelLogisticMixtureHead(7, num_channels).params_per_output == 7 * per_component
