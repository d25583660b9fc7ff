import pytest
import torch
from torch import nn

from lit_gen.callbacks.eval_mode import eval_mode


def test_every_part_gets_its_own_mode_back():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    model.train()
    model[1].eval()  # frozen by its owner
    with pytest.raises(RuntimeError, match="inside"), eval_mode(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.ones(3, 2)).requires_grad
        raise RuntimeError("inside")
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert torch.is_grad_enabled()
