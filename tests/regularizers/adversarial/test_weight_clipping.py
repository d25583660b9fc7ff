import copy

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.regularizers.adversarial.weight_clipping import WeightClipping


def test_every_weight_comes_back_into_the_box():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = copy.deepcopy(network)
    WeightClipping(0.2).after_step(network)
    for old, new in zip(before.parameters(), network.parameters(), strict=True):
        assert torch.equal(new, old.clamp(-0.2, 0.2))
        assert new.requires_grad
    assert any((old.abs() > 0.2).any() for old in before.parameters())


def test_a_limit_must_be_positive():
    with pytest.raises(UserError, match="limit must be positive"):
        WeightClipping(0.0)
