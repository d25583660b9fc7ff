"""A stack of layers and its mirror image."""

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.mlp_codec import MLPCodec


def test_it_is_the_layers_in_turn_and_back():
    codec = MLPCodec((1, 3, 2), [5, 4, 2])
    up = [codec.encoder.layers[2 * k] for k in range(3)]
    down = [codec.decoder.layers[2 * k] for k in range(3)]
    x = torch.rand(7, 1, 3, 2)
    h = x.flatten(1)
    for layer in up:
        h = layer(h).sigmoid()
    assert torch.equal(codec.encode(x), h)
    for layer in down:
        h = layer(h).sigmoid()
    assert torch.equal(codec.decode(codec.encode(x)), h.view(7, 1, 3, 2))
    assert [tuple(layer.weight.shape) for layer in reversed(down)] == [tuple(layer.weight.T.shape) for layer in up]


def test_one_layer_and_another_activation():
    codec = MLPCodec(6, [4], nn.Tanh)
    x = torch.randn(3, 6)
    assert torch.equal(codec.encode(x), codec.encoder.layers[0](x).tanh())
    assert codec.decode(codec.encode(x)).shape == (3, 6)


def test_no_layers_at_all():
    with pytest.raises(UserError, match="at least one layer"):
        MLPCodec(6, [])
