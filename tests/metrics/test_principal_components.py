import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from lit_gen.errors import UserError
from lit_gen.metrics.principal_components import (
    StreamingMoments,
    check_num_components,
    fit_principal_components,
    principal_components,
)
from lit_gen.protocols import Batch


def digits(dtype=torch.float32):
    return torch.from_numpy(load_digits().data / 16).to(dtype)


def streamed(x, batch_size):
    moments = StreamingMoments(x[0].numel())
    for part in x.split(batch_size):
        moments.update(part)
    return moments


@pytest.mark.parametrize("batch_size", [1, 100, 5000])
def test_components_are_scikit_learns_however_the_data_are_cut(batch_size):
    x = digits()
    found = principal_components(streamed(x, batch_size).compute(), 20)
    reference = PCA(20, svd_solver="full").fit(x.double().numpy())
    np.testing.assert_allclose(found.components, reference.components_, atol=1e-5)  # signs included
    np.testing.assert_allclose(found.eigenvalues[:20], reference.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(found.mean, reference.mean_, atol=1e-5)
    z = reference.transform(x.double().numpy())
    np.testing.assert_allclose(found.encode(x.double()), z, atol=1e-5)
    np.testing.assert_allclose(found.decode(torch.from_numpy(z)), reference.inverse_transform(z), atol=1e-5)


def test_all_components_of_float64_data_reconstruct_them():
    x = digits(torch.float64)
    found = principal_components(streamed(x, 300).compute(), 64)
    torch.testing.assert_close(found.decode(found.encode(x)), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.components @ found.components.T, torch.eye(64).double(), rtol=0, atol=1e-12)
    assert (found.eigenvalues >= 0).all()  # three pixels never vary
    assert (found.eigenvalues.diff() <= 0).all()


def test_covariance_is_exact_far_from_zero_and_while_the_mean_drifts():
    """Sums of squares, even in float64, would lose all digits: the squared mean is 1e12 times the variance."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 5, generator=generator) * 2.0**-6 + 2.0**14
    x[1000:] += 64.0  # the second half lies elsewhere
    expected = np.cov(x.double().numpy().T)
    moments = streamed(x, 50).compute()
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-6)
    np.testing.assert_allclose(moments.mean, x.double().mean(0), rtol=1e-12)
    within = streamed(x[:1000], 50).compute().covariance
    np.testing.assert_allclose(within.diag(), np.var(x[:1000].double().numpy(), axis=0, ddof=1), rtol=1e-5)


def test_update_gives_the_batchs_own_variance():
    x = digits()[:50].view(50, 1, 8, 8)
    moments = StreamingMoments(64)
    moments.update(digits()[100:200] + 3)
    expected = x.flatten(1).double().var(0, correction=0).sum()
    torch.testing.assert_close(moments.update(x).double(), expected, rtol=1e-5, atol=0)


def test_autocast_does_not_round_the_products():
    x = digits()
    plain = streamed(x, 200).compute().covariance
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = streamed(x, 200).compute().covariance
    assert torch.equal(plain, cast)


def test_going_on_from_a_saved_state_gives_the_same_bits():
    x = digits()
    whole = streamed(x, 100)
    first = streamed(x[:900], 100)
    second = StreamingMoments(64)
    second.load_state_dict(first.state_dict())
    for part in x[900:].split(100):
        second.update(part)
    assert second.count == whole.count == len(x)
    assert torch.equal(second.compute().covariance, whole.compute().covariance)
    assert first.count == 900


def test_fit_takes_a_loader_and_gives_float32():
    x = digits()
    batches = [Batch(part.view(-1, 1, 8, 8), None, None) for part in x.split(250)]
    found = fit_principal_components(batches, 3)
    assert all(value.dtype == torch.float32 for value in found)
    np.testing.assert_allclose(found.components, PCA(3, svd_solver="full").fit(x.double()).components_, atol=1e-5)


def test_what_cannot_be_is_refused_in_one_line():
    with pytest.raises(UserError, match="can't have 65 components of examples of 64 dimensions: at most 64"):
        check_num_components(65, 64)
    with pytest.raises(UserError, match="can't have 10 components of 10 examples: at most 9"):
        check_num_components(10, 64, 10)
    with pytest.raises(UserError, match="at least 1 component, got 0"):
        check_num_components(0, 64)
    with pytest.raises(UserError, match="5 components of 5 examples"):
        principal_components(streamed(digits()[:5], 5).compute(), 5)
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        streamed(digits()[:1], 1).compute()
    with pytest.raises(ValueError, match="64 elements, got 63"):
        StreamingMoments(64).update(digits()[:, 1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("batch_size", "num_batches"), [(20, 20), (200, 5), (5000, 1)])
@pytest.mark.parametrize(("num_dimensions", "rank"), [(2, 1), (3, 2), (8, 1), (64, 20), (200, 5)])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
def test_what_rounding_alone_leaves_is_no_variance(num_dimensions, rank, batch_size, num_batches, offset, dtype):
    """Points of a plane, rounded to single precision: as many eigenvalues as the plane has directions."""
    generator = torch.Generator().manual_seed(num_dimensions)
    plane = torch.randn(rank, num_dimensions, generator=generator, dtype=torch.float64)
    moments = StreamingMoments(num_dimensions)
    for _ in range(num_batches):
        z = torch.randn(batch_size, rank, generator=generator, dtype=torch.float64)
        moments.update((z @ plane + offset).float().to(dtype))
    found = principal_components(moments.compute(), 1, moments.rounding)
    assert int((found.eigenvalues > 0).sum()) == rank
    if (
        num_dimensions > 50 and dtype == torch.float32
    ):  # so it was: rounding taken for variance (of few directions all may come out negative)
        assert int((principal_components(moments.compute(), 1).eigenvalues > 0).sum()) > rank


@pytest.mark.parametrize("batch_size", [20, 5000])
def test_a_small_variance_above_rounding_is_kept(batch_size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5000, 3, generator=generator) * torch.tensor([1.0, 0.1, 0.005])
    moments = streamed(x, batch_size)
    found = principal_components(moments.compute(), 1, moments.rounding)
    expected = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1]
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-2)  # the last is 200 times smaller than that of eps
    np.testing.assert_allclose(found.eigenvalues[:2], expected[:2], rtol=1e-5)


def test_values_in_double_precision_are_no_rounded_singles():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 1.0, 1e-6]).double()
    moments = streamed(x, 100)
    found = principal_components(moments.compute(), 1, moments.rounding)
    np.testing.assert_allclose(found.eigenvalues[2], x[:, 2].var(), rtol=1e-2)
