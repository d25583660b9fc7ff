import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.autoencoding import AutoencodingDiscriminator
from lit_gen.networks.chain import Chain
from lit_gen.networks.conv import ConvDecoder, ConvEncoder
from lit_gen.networks.dcgan import DCGANGenerator
from lit_gen.networks.mlp import MLP
from lit_gen.protocols import Judged, ReadsFeatures, Reconstructs


def vectors(power=2):
    torch.manual_seed(0)
    return AutoencodingDiscriminator(MLP(6, 3, [8], nn.Tanh), MLP(3, 6, [8], nn.Tanh), power)


@pytest.mark.parametrize(("power", "error"), [(1, torch.abs), (2, torch.square)])
def test_the_score_is_the_mean_error_of_each_example(power, error):
    network = vectors(power)
    x = torch.randn(5, 6)
    reconstruction = network.decoder(network.encoder(x))
    torch.testing.assert_close(network.reconstruct(x), reconstruction)
    expected = torch.stack([error(x[n] - reconstruction[n]).sum() / 6 for n in range(5)])
    torch.testing.assert_close(network(x), expected)


def test_a_perfect_reconstruction_has_no_energy():
    network = AutoencodingDiscriminator(nn.Flatten(), nn.Unflatten(1, (1, 4, 4)))
    assert torch.equal(network(torch.rand(3, 1, 4, 4)), torch.zeros(3))


def test_scores_and_codes_come_from_one_pass():
    network = vectors()
    passes = []
    network.encoder.register_forward_hook(lambda *_: passes.append(1))
    x = torch.randn(5, 6)
    judged = network.judge(x)
    assert len(passes) == 1
    assert isinstance(judged, Judged)
    assert judged.x is x
    torch.testing.assert_close(judged.scores, network(x))
    torch.testing.assert_close(judged.features, network.encode(x))
    assert isinstance(network, Reconstructs)
    assert not isinstance(network, ReadsFeatures)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_a_convolutional_autoencoder_of_existing_parts_makes_a_game_of_energies(shape):
    """As BEGAN's: its generator is laid out as its decoder."""
    encoder, decoder = ConvEncoder(shape, 8, 1, base_channels=4), ConvDecoder(8, shape, base_channels=4)
    generator = Chain([ConvDecoder(8, shape, base_channels=4), nn.Sigmoid()])
    network = AutoencodingDiscriminator(encoder, decoder, power=1)
    fake = generator(torch.randn(6, 8))
    assert network.in_shape == shape
    assert network(fake).shape == (6,)
    assert network.reconstruct(fake).shape == (6, *shape)
    assert network.judge(fake).features.shape == (6, 8)
    network(fake).mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in [*network.parameters(), *generator.parameters()])


def test_codes_may_have_any_shape():
    network = AutoencodingDiscriminator(
        nn.Conv2d(1, 2, 4, stride=2, padding=1), nn.ConvTranspose2d(2, 1, 4, stride=2, padding=1)
    )
    x = torch.rand(3, 1, 8, 8)
    assert network.encode(x).shape == (3, 32)
    assert network(x).shape == (3,)


def test_refuses_another_power_and_a_decoder_of_other_examples():
    with pytest.raises(UserError, match="must be 1 or 2, got 3"):
        vectors(power=3)
    network = AutoencodingDiscriminator(ConvEncoder((1, 16, 16), 4, 1, 4), DCGANGenerator(4, (1, 8, 8), 4))
    with pytest.raises(UserError, match=r"\(1, 8, 8\) of such of shape \(1, 16, 16\)"):
        network(torch.rand(2, 1, 16, 16))
