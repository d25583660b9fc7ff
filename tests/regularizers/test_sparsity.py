"""Sparsity penalties against their formulas, and over two halves of a batch."""

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from lit_gen.errors import UserError
from lit_gen.regularizers import sparsity
from lit_gen.regularizers.sparsity import KLSparsity, L1Sparsity

CODES = torch.rand(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_kl_is_that_of_bernoulli_variables_at_the_batchs_mean():
    target = torch.tensor(0.1, dtype=torch.float64)
    expected = 3.0 * kl_divergence(Bernoulli(target), Bernoulli(CODES.mean(0))).sum()
    value = KLSparsity(0.1, 3.0)(None, None, CODES)
    assert value.shape == ()
    torch.testing.assert_close(value, expected)


def test_kl_is_0_at_its_target_and_finite_for_dead_and_saturated_units():
    assert KLSparsity(0.25, 1.0)(None, None, torch.full((8, 3), 0.25)).abs() < 1e-6
    codes = torch.tensor([[0.0, 1.0]]).repeat(4, 1).requires_grad_()
    value = KLSparsity(0.05, 1.0)(None, None, codes)
    value.backward()
    assert value.isfinite()
    assert codes.grad.isfinite().all()


def test_over_ranks_the_kl_is_that_of_the_joint_batch_and_so_is_the_mean_of_the_gradients(monkeypatch):
    """Two ranks are played one after the other: the collective is told the other's mean."""
    joint = CODES.clone().requires_grad_()
    expected = KLSparsity(0.1, 1.0)(None, None, joint)
    expected.backward()
    gradients = []
    for own, other in (CODES.chunk(2), CODES.chunk(2)[::-1]):
        monkeypatch.setattr(sparsity, "world_size", lambda: 2)
        monkeypatch.setattr(sparsity, "sum_over_ranks", lambda x, other=other: x + other.mean(0))
        leaf = own.clone().requires_grad_()
        value = KLSparsity(0.1, 1.0)(None, None, leaf)
        torch.testing.assert_close(value, expected.detach())
        value.backward()
        gradients.append(leaf.grad / 2)  # what averaging over the ranks leaves of it
    torch.testing.assert_close(torch.cat(gradients), joint.grad)


def test_l1_is_the_sum_of_magnitudes():
    codes = torch.tensor([[1.0, -2.0], [0.0, 0.5]])
    assert L1Sparsity(2.0)(None, None, codes).tolist() == [6.0, 1.0]


def test_codes_that_are_no_activations_are_refused():
    with pytest.raises(UserError, match=r"codes in \[0, 1\].*from -1 to 0.5.*Sigmoid"):
        KLSparsity()(None, None, torch.tensor([[-1.0, 0.5]]))
    assert KLSparsity()(None, None, torch.tensor([[float("nan"), 0.5]])).isnan()  # a diverged run: not for us to tell


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: KLSparsity(target=0.0), "target in"),
        (lambda: KLSparsity(target=1.0), "target in"),
        (lambda: KLSparsity(weight=-1.0), "weight of 0 or more"),
        (lambda: L1Sparsity(-1.0), "weight of 0 or more"),
        (lambda: L1Sparsity(float("nan")), "weight of 0 or more"),
    ],
)
def test_refuses_arguments_out_of_range(make, what):
    with pytest.raises(UserError, match=what):
        make()
