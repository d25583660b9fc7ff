import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.dcgan import DCGANDiscriminator
from lit_gen.networks.layers.minibatch import MinibatchDiscrimination, MinibatchStandardDeviation

SCRIPT = Path(__file__).parents[2] / "distributed" / "minibatch_on_two_ranks.py"


def test_nearness_is_that_of_the_papers_equation():
    layer = MinibatchDiscrimination(3, num_kernels=4, kernel_dim=2).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    y = layer(x).detach()
    assert y.shape == (5, 7)
    assert layer.out_features == 7
    assert torch.equal(y[:, :3], x)
    tensor = layer.project.weight.detach().view(4, 2, 3)
    for i in range(5):
        for b in range(4):
            nearness = sum(math.exp(-float((tensor[b] @ (x[i] - x[j])).abs().sum())) for j in range(5))
            assert math.isclose(float(y[i, 3 + b]), nearness, rel_tol=1e-9)


def test_a_collapsed_batch_is_as_near_as_can_be():
    y = MinibatchDiscrimination(3, 4, 2)(torch.randn(1, 3).expand(6, 3))
    torch.testing.assert_close(y[:, 3:], torch.full((6, 4), 6.0))


@pytest.mark.parametrize(("group_size", "groups"), [(None, [(0, 7)]), (3, [(0, 3), (3, 6), (6, 7)]), (7, [(0, 7)])])
def test_the_deviation_is_the_groups_mean_over_features(group_size, groups):
    layer = MinibatchStandardDeviation(4, group_size).double()
    x = torch.randn(7, 4, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (7, 5)
    assert torch.equal(y[:, :4], x)
    for first, last in groups:
        expected = x[first:last].std(0, correction=0).mean()
        torch.testing.assert_close(y[first:last, 4], expected.expand(last - first), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("make", [lambda f: MinibatchDiscrimination(f, 3, 2), MinibatchStandardDeviation])
def test_gradients_can_be_differentiated_again_also_where_examples_are_equal(make):
    layer = make(4)
    x = torch.randn(3, 4).repeat_interleave(2, 0).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    (again,) = torch.autograd.grad(gradient.square().sum(), x)
    assert again.isfinite().all()
    assert again.abs().sum() > 0


@pytest.mark.parametrize("make", [lambda f: MinibatchDiscrimination(f, 3, 2), MinibatchStandardDeviation])
def test_a_convolutional_discriminator_takes_it_too(make):
    network = DCGANDiscriminator((1, 8, 8), base_channels=2, minibatch=make).eval()
    x = torch.rand(6, 1, 8, 8)
    assert network(x).shape == (6,)
    assert network.features(x).shape == (6, 32)
    assert network.score.in_features == make(32).out_features
    assert not torch.equal(network(x)[:2], network(x[:2]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MinibatchDiscrimination(3, 0, 2),
        lambda: MinibatchDiscrimination(3, 2, 0),
        lambda: MinibatchStandardDeviation(3, 1),
    ],
)
def test_refuses_numbers_out_of_range(make):
    with pytest.raises(UserError, match="at least"):
        make()


def test_two_ranks_score_and_differentiate_as_one_process():
    """Scores, input gradients, and parameter gradients of a loss with a gradient penalty; the error too."""
    result = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "agrees" in result.stdout
