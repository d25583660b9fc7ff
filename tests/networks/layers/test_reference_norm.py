import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.layers.reference_norm import ReferenceBatchNorm, VirtualBatchNorm

KINDS = [ReferenceBatchNorm, VirtualBatchNorm]
SHAPES = [(9, 3), (9, 3, 4, 5)]
NUM_REFERENCE = 5


def layer_and_input(kind, shape):
    torch.manual_seed(0)
    layer = kind(3)
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    nn.init.normal_(layer.bias)
    layer.num_reference = NUM_REFERENCE
    return layer, torch.randn(shape) * 2 + 5


def torchs(layer, x):
    """Batch norm of x by its own moments, with the layer's scale and shift."""
    return nn.functional.batch_norm(x, None, None, layer.weight, layer.bias, training=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_normalized_as_a_batch_of_its_own(kind, shape):
    layer, x = layer_and_input(kind, shape)
    reference = x[:NUM_REFERENCE]
    torch.testing.assert_close(layer(x)[:NUM_REFERENCE], torchs(layer, reference))
    torch.testing.assert_close(layer.eval()(x), layer.train()(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_reference_batch_norm_has_the_references_moments_alone(shape):
    layer, x = layer_and_input(ReferenceBatchNorm, shape)
    dims = [0, *range(2, x.dim())]
    variance, mean = torch.var_mean(x[:NUM_REFERENCE], dims, correction=0)
    expected = nn.functional.batch_norm(x, mean, variance, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_virtual_batch_norm_adds_the_example_to_the_reference(shape):
    layer, x = layer_and_input(VirtualBatchNorm, shape)
    for number in range(NUM_REFERENCE, len(x)):
        batch = torch.cat([x[:NUM_REFERENCE], x[number : number + 1]])
        torch.testing.assert_close(layer(x)[number], torchs(layer, batch)[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_variances_survive_a_large_mean(kind):
    layer, x = layer_and_input(kind, (9, 3, 8, 8))
    exact = layer.double()(x.double() + 1000.0)
    torch.testing.assert_close(layer.float()(x + 1000.0).double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_goes_in_and_comes_out(kind):
    layer, x = layer_and_input(kind, (9, 3, 4, 5))
    y = layer(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=0.05, atol=0.05)


def test_refuses_to_work_without_a_reference_batch():
    with pytest.raises(UserError, match="VirtualBatchNorm needs a lit_gen"):
        VirtualBatchNorm(3)(torch.randn(4, 3))
