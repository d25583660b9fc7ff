"""Codes decoded in blocks give what they give at once."""

import pytest
import torch

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.models.vaes.base import CPU_ROWS, log_px_at
from lit_gen.networks.mlp import MLP


@pytest.mark.parametrize(("num_samples", "batch_size"), [(1, 3), (2 * CPU_ROWS + 7, 1), (60, 9), (2, CPU_ROWS + 5)])
def test_blocks_make_no_difference(num_samples, batch_size):
    torch.manual_seed(0)
    decoder, head = MLP(3, (1, 4, 4), [8]), BernoulliHead()
    x, z, rows = torch.rand(batch_size, 1, 4, 4), 5 * torch.randn(num_samples, batch_size, 3), []

    def likelihood(code):
        rows.append(len(code))
        return head(decoder(code))

    at_once = log_px_at(x, z, likelihood)  # with a gradient
    assert rows == [num_samples * batch_size]
    with torch.no_grad():
        in_blocks = log_px_at(x, z, likelihood)
    assert max(rows[1:]) <= max(CPU_ROWS, batch_size)
    torch.testing.assert_close(in_blocks, at_once.detach(), rtol=1e-5, atol=1e-5)
    one_by_one = torch.stack([head(decoder(code)).log_prob(x) for code in z])
    torch.testing.assert_close(in_blocks, one_by_one.detach(), rtol=1e-5, atol=1e-5)
