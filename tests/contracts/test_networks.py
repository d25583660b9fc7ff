"""What every network owes, over every member: (B, *in_shape) -> (B, *out_shape)."""

import pytest
import torch
from torch import nn

from lit_gen.networks.autoencoding import AutoencodingDiscriminator
from lit_gen.networks.bottom_layer import BottomLayer
from lit_gen.networks.conv import ConvDecoder, ConvEncoder
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.networks.document_encoder import DocumentEncoder
from lit_gen.networks.instance_noise import InstanceNoise
from lit_gen.networks.ladder_encoder import LadderEncoder
from lit_gen.networks.layers.maxout import Maxout
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.layers.reference_norm import ReferenceBatchNorm, VirtualBatchNorm
from lit_gen.networks.mlp import MLP
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.networks.reference import ReferenceBatch
from lit_gen.networks.resnet import ResNetDiscriminator, ResNetGenerator
from lit_gen.networks.spectral_norm import SpectralNorm


def with_reference(network):
    wrapped = ReferenceBatch(network, 4)
    wrapped.set_reference(torch.rand(4, *network.in_shape))
    return wrapped


NETWORKS = {
    "mlp": (lambda: MLP((1, 4, 4), 3, [8], nn.Tanh), (3,)),
    "mlp_two_params": (lambda: MLP(3, (1, 4, 4), [8, 8], params_per_output=2), (2, 1, 4, 4)),
    "mlp_score": (lambda: MLP(2, (), [8]), ()),
    "mlp_maxout": (lambda: MLP(3, 2, [8, 8], nn.Identity, linear=Maxout), (2,)),
    "mlp_discriminator": (lambda: MLPDiscriminator((1, 4, 4), [8, 8], norm=BatchNorm1d), ()),
    "bottom_layer": (lambda: BottomLayer(MLP(2, (1, 4, 4), [8]), 3), (1, 4, 4)),
    "ladder_encoder": (lambda: LadderEncoder((1, 4, 4), [3, 2], [[8, 8], [6]]), (2, 5)),
    "document_encoder": (lambda: DocumentEncoder(12, 3, [8]), (3,)),
    "conv_encoder": (lambda: ConvEncoder((1, 8, 8), 3, base_channels=4), (2, 3)),
    "conv_decoder": (lambda: ConvDecoder(3, (3, 16, 16), base_channels=4), (3, 16, 16)),
    "conv_decoder_two_params": (lambda: ConvDecoder(3, (1, 28, 28), 2, base_channels=4), (2, 1, 28, 28)),
    "conv_encoder_oblong": (lambda: ConvEncoder((1, 28, 20), 3, base_channels=4), (2, 3)),
    "conv_decoder_odd": (lambda: ConvDecoder(3, (3, 25, 17), base_channels=4), (3, 25, 17)),
    "dcgan_generator": (lambda: DCGANGenerator(3, (1, 16, 16), base_channels=4), (1, 16, 16)),
    "dcgan_discriminator": (lambda: DCGANDiscriminator((1, 28, 28), base_channels=4), ()),
    "resnet_generator": (lambda: ResNetGenerator(3, (1, 16, 16), base_channels=4), (1, 16, 16)),
    "resnet_discriminator": (lambda: ResNetDiscriminator((3, 32, 32), base_channels=4), ()),
    "resnet_discriminator_large": (lambda: ResNetDiscriminator((1, 64, 64), base_channels=2), ()),
    "autoencoding_discriminator": (lambda: AutoencodingDiscriminator(MLP(4, 2, [8]), MLP(2, 4, [8])), ()),
    "instance_noise": (lambda: InstanceNoise(MLPDiscriminator(2, [8]), 0.1), ()),
    "spectral_norm": (lambda: SpectralNorm(DCGANDiscriminator((1, 16, 16), base_channels=4)), ()),
    "reference_batch_norm": (lambda: with_reference(MLP(2, 3, [8, 8], norm=ReferenceBatchNorm)), (3,)),
    "virtual_batch_norm": (
        lambda: with_reference(DCGANGenerator(3, (1, 16, 16), base_channels=4, norm=VirtualBatchNorm)),
        (1, 16, 16),
    ),
}


@pytest.fixture(params=NETWORKS)
def member(request):
    make, out_shape = NETWORKS[request.param]

    def build(seed=0):
        torch.manual_seed(seed)
        return make()

    x = torch.rand(6, *build().in_shape, generator=torch.Generator().manual_seed(0))
    return build, x, out_shape


def test_shapes_and_finite_gradients_everywhere(member):
    build, x, out_shape = member
    network = build()
    y = network(x)
    assert y.shape == (6, *out_shape)
    (y * torch.rand(y.shape)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_saved_and_loaded_it_computes_the_same(member):
    build, x, _ = member
    network, other = build().eval(), build(seed=1).eval()
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(x), other(x))


def test_in_evaluation_it_is_deterministic_and_each_example_stands_alone(member):
    build, x, _ = member
    network = build().eval()
    assert torch.equal(network(x), network(x))
    torch.testing.assert_close(torch.cat([network(x[:2]), network(x[2:])]), network(x), rtol=1e-4, atol=1e-6)


def test_a_batch_of_one_keeps_its_batch_dimension(member):
    build, x, out_shape = member
    assert build().eval()(x[:1]).shape == (1, *out_shape)
