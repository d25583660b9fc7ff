"""Pushforwards: samples against the closed-form distribution function, and the density against its derivative."""

import math

import pytest
import scipy.integrate
import scipy.stats
import torch

from lit_gen.data.pushforward import Identity, InverseNormalCDF, Pushforward, Square
from lit_gen.errors import UserError

SMALL = {"num_train": 50, "num_validation": 20, "num_test": 30}
NORMAL = scipy.stats.norm(1.0, 2.0)
MAPS = {
    # the map, the reference's distribution function and density, places within the support
    "identity": (Identity(), scipy.stats.uniform.cdf, scipy.stats.uniform.pdf, [0.01, 0.3, 0.99]),
    "square": (Square(), scipy.stats.beta(0.5, 1).cdf, scipy.stats.beta(0.5, 1).pdf, [0.01, 0.3, 0.99]),
    "inverse_normal": (InverseNormalCDF(1.0, 2.0), NORMAL.cdf, NORMAL.pdf, [-6.0, 0.0, 1.0, 7.5]),
}
each_map = pytest.mark.parametrize("g,cdf,pdf,places", MAPS.values(), ids=MAPS)


def drawn(g) -> torch.Tensor:
    return Pushforward(g, **SMALL).sample(20_000, torch.Generator().manual_seed(5))


@each_map
def test_samples_pass_the_ks_test(g, cdf, pdf, places):
    x = drawn(g)
    assert x.shape == (20_000, 1) and x.dtype == torch.float32 and torch.isfinite(x).all()
    assert scipy.stats.kstest(x[:, 0].double().numpy(), cdf).pvalue > 0.01


@pytest.mark.parametrize(
    "wrong,name",
    [
        (Square(), "identity"),
        (Identity(), "square"),
        (InverseNormalCDF(1.1, 2.0), "inverse_normal"),
        (InverseNormalCDF(1.0, 2.2), "inverse_normal"),
    ],
)
def test_samples_of_a_wrong_map_fail_it(wrong, name):
    assert scipy.stats.kstest(drawn(wrong)[:, 0].double().numpy(), MAPS[name][1]).pvalue < 1e-4


@each_map
def test_the_density_integrates_to_one_and_is_the_slope_of_the_distribution_function(g, cdf, pdf, places):
    data = Pushforward(g, **SMALL)

    def density(x: float) -> float:
        return float(data.log_prob(torch.tensor([[x]], dtype=torch.float64)).exp())

    mass, _ = scipy.integrate.quad(density, *g.support)
    assert mass == pytest.approx(1, abs=1e-6)
    x = torch.tensor(places, dtype=torch.float64)
    p = data.log_prob(x[:, None]).exp()
    step = 1e-5
    slope = (data.cdf(x + step) - data.cdf(x - step)) / (2 * step)
    torch.testing.assert_close(p, slope, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(p, torch.from_numpy(pdf(x.numpy())), rtol=1e-9, atol=0)
    torch.testing.assert_close(data.cdf(x), torch.from_numpy(cdf(x.numpy())), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(data.quantile(data.cdf(x)), x, rtol=1e-9, atol=1e-12)


def test_the_normals_density_is_right_however_far_from_its_mean():
    """By z, which is 1 from 8.3 deviations on, log p stayed at that of 8.2: off by thousands of nats at 80."""
    data = Pushforward(InverseNormalCDF(1.0, 2.0), **SMALL)
    deviations = torch.tensor([-300.0, -40.0, -9.0, -7.5, 0.0, 7.5, 7.9, 8.2, 8.3, 9.0, 40.0, 300.0]).double()
    x = 1.0 + 2.0 * deviations
    expected = -0.5 * deviations**2 - 0.5 * math.log(2 * math.pi) - math.log(2.0)
    torch.testing.assert_close(data.log_prob(x[:, None]), expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(data.log_prob(x[:, None]).numpy(), NORMAL.logpdf(x.numpy()), rtol=1e-12, atol=0)


@each_map
def test_every_point_that_can_be_drawn_has_a_density(g, cdf, pdf, places, monkeypatch):
    """The largest uniform number below 1 becomes 1 in single precision: an end of the support, and of it."""
    data = Pushforward(g, **SMALL)
    for extreme in (0.0, 1.0 - 2.0**-53):
        monkeypatch.setattr(
            torch, "rand", lambda *size, value=extreme, **options: torch.full(size, value, dtype=torch.float64)
        )
        assert torch.isfinite(data.log_prob(data.sample(3))).all()


def test_there_is_nothing_beyond_the_support():
    x = torch.tensor([[-0.1], [1.1]])
    for g in (Identity(), Square()):
        data = Pushforward(g, **SMALL)
        assert data.log_prob(x).tolist() == [-math.inf] * 2
        assert data.cdf(x[:, 0]).tolist() == [0, 1]


def test_splits_are_points_of_one_number():
    data = Pushforward(Square(), **SMALL, batch_size=10)
    assert [data.num_examples(split) for split in ("train", "val", "test")] == [50, 20, 30]
    batch = next(iter(data.train_dataloader()))
    assert batch.x.shape == (10, 1) and 0 < float(batch.x.min()) <= float(batch.x.max()) < 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="std must be positive"):
        InverseNormalCDF(std=0.0)
    with pytest.raises(UserError, match=r"event_shape \[1\]"):
        Pushforward(Identity(), event_shape=(2,))
