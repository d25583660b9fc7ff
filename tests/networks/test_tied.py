"""A decoder with its encoder's weights: the same numbers, once."""

import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.conv import ConvEncoder
from lit_gen.networks.mlp import MLP
from lit_gen.networks.tied import TransposedMLP


def tied(*arguments, **kwargs):
    torch.manual_seed(0)
    encoder = MLP(*arguments, **kwargs)
    decoder = TransposedMLP()
    decoder.tie_to(encoder)
    for bias in decoder.biases:
        bias.data.normal_()
    return encoder, decoder


def test_one_layer_is_the_transposed_matrix():
    encoder, decoder = tied((1, 4, 4), 3, [], output_activation=nn.Sigmoid)
    z = torch.randn(5, 3)
    expected = z @ encoder.layers[0].weight + decoder.biases[0]
    torch.testing.assert_close(decoder(z), expected.view(5, 1, 4, 4))


def test_activations_stand_between_the_same_two_layers():
    encoder, decoder = tied(6, 3, [5, 4], nn.Tanh)
    w1, w2, w3 = (layer.weight for layer in encoder.layers if isinstance(layer, nn.Linear))
    c1, c2, c3 = decoder.biases
    z = torch.randn(5, 3)
    torch.testing.assert_close(decoder(z), ((z @ w3 + c1).tanh() @ w2 + c2).tanh() @ w1 + c3)


def test_owns_its_biases_alone_and_both_directions_reach_the_weights():
    encoder, decoder = tied((1, 4, 4), 3, [5])
    assert set(decoder.state_dict()) == {"biases.0", "biases.1"}
    assert [tuple(bias.shape) for bias in decoder.parameters()] == [(5,), (16,)]
    z = torch.randn(2, 3)
    (decoder(z) ** 2).sum().backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in encoder.layers if isinstance(layer, nn.Linear))
    assert decoder.in_shape == (3,)
    assert decoder.out_shape == (1, 4, 4)


def test_unrolled_it_is_an_mlp_that_computes_the_same():
    _, decoder = tied((1, 4, 4), 3, [6, 5], nn.Tanh, output_activation=nn.Sigmoid)
    untied = MLP(3, (1, 4, 4), [5, 6], nn.Tanh)
    untied.load_state_dict(decoder.unrolled(), strict=True)
    z = torch.randn(5, 3)
    torch.testing.assert_close(untied(z), decoder(z))


def test_refuses_encoders_that_it_cannot_run_backwards():
    with pytest.raises(UserError, match="only be tied to an MLP, but the encoder is a ConvEncoder"):
        TransposedMLP().tie_to(ConvEncoder((1, 8, 8), 3, 1, 4))
    with pytest.raises(UserError, match="params_per_output 1"):
        TransposedMLP().tie_to(MLP(4, 3, [], params_per_output=2))
    with pytest.raises(UserError, match="before it is tied"):
        TransposedMLP()(torch.zeros(1, 3))
