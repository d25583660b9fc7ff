import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lit_gen.networks.layers.norm import BatchNorm1d, BatchNorm2d, joint_moments

SCRIPT = Path(__file__).parents[2] / "distributed" / "norm_on_two_ranks.py"


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (BatchNorm2d, nn.BatchNorm2d, (6, 3, 4, 4)),
        (BatchNorm1d, nn.BatchNorm1d, (6, 3)),
    ],
)
def test_in_one_process_it_is_torchs_own(ours, theirs, shape):
    a, b = ours(3), theirs(3)
    for _ in range(2):
        x = torch.randn(shape) + 3
        assert torch.equal(a(x), b(x))
    assert all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    assert torch.equal(a.eval()(x), b.eval()(x))


def test_moments_survive_a_large_mean():
    x = torch.randn(64, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    moments = joint_moments(x + 1000.0)
    torch.testing.assert_close(moments.variance, (x + 1000.0).double().var((0, 2, 3), correction=0).float())
    torch.testing.assert_close(moments.mean, x.mean((0, 2, 3)) + 1000.0)
    assert moments.count == 64 * 25


def test_two_ranks_normalize_and_differentiate_as_one_process():
    """Outputs, running statistics, input and weight gradients, also where the ranks hold unequal shares."""
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
