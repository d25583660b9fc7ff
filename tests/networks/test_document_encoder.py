import torch
from torch import nn

from lit_gen.networks.document_encoder import DocumentEncoder
from lit_gen.networks.mlp import MLP


def documents(count: int = 6, num_words: int = 50) -> torch.Tensor:
    counts = torch.poisson(torch.rand(count, num_words), torch.Generator().manual_seed(0)) + torch.eye(count, num_words)
    return counts / counts.sum(1, keepdim=True)


def test_its_layers_see_roots_of_unit_mean_square():
    torch.manual_seed(0)
    encoder = DocumentEncoder(50, 2, [8])
    seen = []
    encoder.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = documents()
    code = encoder(x)
    torch.testing.assert_close(seen[0].square().mean(1), torch.ones(6))
    plain = MLP(50, 2, [8], nn.Tanh)
    plain.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(code, plain((50 * x).sqrt()))


def test_gradients_of_its_weights_are_finite_at_words_that_do_not_occur():
    encoder = DocumentEncoder(50, 2, [8, 4])
    x = documents()
    assert (x == 0).any()
    encoder(x).square().sum().backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in encoder.parameters())
