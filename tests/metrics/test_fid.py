import pytest
import torch

from lit_gen.metrics.fid import FeatureMoments, FrechetDistance, Moments, frechet_distance
from lit_gen.metrics.moments_cache import read_moments, write_moments


def random_covariance(dim: int, seed: int) -> torch.Tensor:
    root = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T / dim + 0.1 * torch.eye(dim, dtype=torch.float64)


def features(count: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def moments(x: torch.Tensor) -> Moments:
    metric = FeatureMoments(x.shape[1])
    metric.update(x)
    return metric.compute()


def test_equal_covariances_leave_the_distance_of_the_means():
    mean_a, mean_b = features(2, 12, 0).double()
    covariance = random_covariance(12, 1)
    distance = frechet_distance(Moments(mean_a, covariance, 100), Moments(mean_b, covariance, 100))
    torch.testing.assert_close(distance, (mean_a - mean_b).square().sum(), rtol=1e-10, atol=0)


def test_diagonal_covariances_have_a_closed_form():
    std_a, std_b = features(2, 9, 0).double().abs()
    mean = torch.zeros(9, dtype=torch.float64)
    distance = frechet_distance(
        Moments(mean, std_a.square().diag(), 100), Moments(mean + 0.5, std_b.square().diag(), 100)
    )
    torch.testing.assert_close(distance, 9 * 0.25 + (std_a - std_b).square().sum(), rtol=1e-10, atol=0)


def test_the_matrix_root_is_the_one_of_the_product():
    a, b = random_covariance(7, 0), random_covariance(7, 1)
    mean = torch.zeros(7, dtype=torch.float64)
    distance = frechet_distance(Moments(mean, a, 100), Moments(mean, b, 100))
    expected = a.trace() + b.trace() - 2 * torch.linalg.eigvals(a @ b).real.sqrt().sum()
    torch.testing.assert_close(distance, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("count", [5, 500])
def test_a_set_is_at_no_distance_from_itself_even_with_fewer_examples_than_features(count):
    a = moments(features(count, 64, 0))
    assert 0 <= frechet_distance(a, a) < 1e-10 * a.covariance.trace()


@pytest.mark.parametrize(("count_a", "count_b"), [(5, 5), (500, 500), (5, 500)])
def test_symmetric(count_a, count_b):
    a, b = moments(features(count_a, 64, 0)), moments(2 * features(count_b, 64, 1) + 1)
    torch.testing.assert_close(frechet_distance(a, b), frechet_distance(b, a), rtol=1e-10, atol=0)


def test_a_set_without_spread():
    a = Moments(torch.ones(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64), 2)
    b = Moments(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64), 100)
    assert frechet_distance(a, b) == 6
    assert frechet_distance(b, a) == 6
    assert frechet_distance(a, a) == 0


def test_two_samples_of_one_distribution_are_apart_by_the_known_bias():
    dim, count = 128, 2048
    distance = frechet_distance(moments(features(count, dim, 0)), moments(features(count, dim, 1)))
    expected = 2 * dim / count + dim**2 / (2 * count)  # 4.125; the distance scatters by about 2 %
    assert abs(distance / expected - 1) < 0.1


def test_non_finite_features_make_a_non_finite_distance():
    x = features(10, 4, 0)
    a = moments(x)
    x[3, 2] = torch.nan
    assert frechet_distance(a, moments(x)).isnan()


def test_refuses_moments_of_different_extractors():
    with pytest.raises(ValueError, match="4 features with 5"):
        frechet_distance(moments(features(9, 4, 0)), moments(features(9, 5, 0)))


def test_streamed_moments_are_those_of_the_whole_set():
    x = 100 + features(101, 6, 0)  # a mean far from 0 costs digits: float64 has them
    streamed, other_rank = FeatureMoments(6), FeatureMoments(6)
    for part in x[:77].split(10):
        streamed.update(part)
    other_rank.update(x[77:])
    streamed.merge_state(other_rank)
    result = streamed.compute()
    torch.testing.assert_close(result.mean, x.double().mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(result.covariance, x.double().T.cov(), rtol=1e-8, atol=1e-10)
    assert result.count == 101


def test_a_batch_of_one_image_counts():
    x = features(3, 4, 0)
    streamed = FeatureMoments(4)
    for example in x:
        streamed.update(example[None])
    torch.testing.assert_close(streamed.compute().covariance, x.double().T.cov(), rtol=1e-10, atol=1e-12)


def test_refuses_squeezed_features_and_a_covariance_of_one():
    metric = FeatureMoments(4)
    with pytest.raises(ValueError, match=r"\(4,\)"):
        metric.update(torch.zeros(4))
    metric.update(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="at least 2"):
        metric.compute()


def test_metric_of_streams_and_of_known_moments():
    real, fake = features(50, 5, 0), features(40, 5, 1) * 1.5
    metric = FrechetDistance(5)
    metric.update(real[:20], real=True)
    metric.update(fake, real=False)
    metric.update(real[20:], real=True)
    expected = frechet_distance(moments(real), moments(fake))
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-10, atol=0)

    known = FrechetDistance(5, real=moments(real))
    known.update(fake, real=False)
    torch.testing.assert_close(known.compute(), expected, rtol=1e-10, atol=0)
    with pytest.raises(ValueError, match="cannot be added to"):
        known.update(real, real=True)

    known.reset()
    known.update(real, real=False)
    assert known.compute() < 1e-10


def test_metric_refuses_moments_of_another_extractor():
    with pytest.raises(ValueError, match="have 4 features, expected 5"):
        FrechetDistance(5, real=moments(features(9, 4, 0)))


@pytest.mark.parametrize("known", [False, True])
def test_one_feature_is_a_feature_too(known):
    """(m_a - m_b)^2 + (s_a - s_b)^2, computed by numpy."""
    a, b = torch.randn(300, 1).double() * 2 + 5, torch.randn(200, 1).double() - 1
    real = FeatureMoments(1)
    real.update(a)
    metric = FrechetDistance(1, real.moments() if known else None)
    if not known:
        metric.update(a, real=True)
    metric.update(b, real=False)
    x, y = a.numpy(), b.numpy()
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-10)
    assert real.moments().mean.shape == (1,)
    assert real.moments().covariance.shape == (1, 1)


def test_one_features_moments_outlive_the_cache(tmp_path):
    moments = FeatureMoments(1)
    moments.update(torch.randn(10, 1))
    write_moments(tmp_path / "one", moments.moments())
    kept = read_moments(tmp_path / "one", 1)
    assert torch.equal(kept.covariance, moments.moments().covariance)


def test_features_that_never_vary():
    """Equal constants are at distance 0, others at that of their means; no root of a rounding error is in it."""
    for shift in (0.0, 3.0):
        metric = FrechetDistance(4)
        metric.update(torch.full((50, 4), 0.1), real=True)
        metric.update(torch.full((60, 4), 0.1 + shift), real=False)
        assert float(metric.compute()) == pytest.approx(4 * shift**2, rel=1e-6, abs=1e-7)
