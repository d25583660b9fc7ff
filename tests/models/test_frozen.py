import torch

from lit_gen.models.frozen import frozen


def test_frozen_passes_gradients_through_and_restores_what_was_trainable():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    x = torch.randn(3, 2, requires_grad=True)
    with frozen(layer):
        y = layer(x)
    y.sum().backward()
    assert layer.weight.grad is None
    assert x.grad is not None
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
