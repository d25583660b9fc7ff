import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.autoencoding import AutoencodingDiscriminator
from lit_gen.networks.dcgan import DCGANDiscriminator
from lit_gen.networks.mlp import MLP
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.networks.packed import Packed


def test_images_are_stacked_along_the_channels():
    inner = DCGANDiscriminator((6, 8, 8), base_channels=2)
    network = Packed(inner, 2)
    assert network.in_shape == (3, 8, 8)
    x = torch.rand(4, 3, 8, 8)
    packs = torch.stack([torch.cat([x[0], x[1]]), torch.cat([x[2], x[3]])])
    torch.testing.assert_close(network(x), inner(packs))
    torch.testing.assert_close(network.features(x), inner.features(packs))


def test_vectors_are_put_one_after_another():
    inner = MLPDiscriminator(6, [5])
    x = torch.randn(9, 2)
    packs = torch.stack([torch.cat([x[3 * n], x[3 * n + 1], x[3 * n + 2]]) for n in range(3)])
    torch.testing.assert_close(Packed(inner, 3)(x), inner(packs))


def test_a_batch_that_does_not_fall_into_packs_is_refused_in_training():
    with pytest.raises(UserError, match="5 examples does not fall into packs of 2"):
        Packed(MLPDiscriminator(6, [5]), 2)(torch.randn(5, 3))


def test_in_evaluation_every_example_is_judged_the_last_beside_the_one_before():
    network = Packed(MLPDiscriminator(6, [5]), 3).eval()
    x = torch.randn(8, 2)
    expected = torch.cat([network(x[:6]), network(x[[6, 7, 5]])])
    torch.testing.assert_close(network(x), expected)
    torch.testing.assert_close(network(x[:1]), network(x[[0, 0, 0]]))
    assert network(x[:2]).shape == (1,)


def test_reconstructions_are_unpacked():
    inner = AutoencodingDiscriminator(MLP(6, 2, [4]), MLP(2, 6, [4]))
    network = Packed(inner, 2).eval()
    x = torch.randn(5, 3)
    assert network.reconstruct(x).shape == (5, 3)
    torch.testing.assert_close(network.reconstruct(x)[2], inner.reconstruct(torch.cat([x[2], x[3]])[None])[0, :3])
    judged = network.judge(x)
    assert judged.x is x
    assert judged.features.shape == (3, 2)
    torch.testing.assert_close(judged.scores, network(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Packed(MLPDiscriminator(5, [4]), 2), r"2 times .* MLPDiscriminator's is \(5,\)"),
        (lambda: Packed(nn.Linear(4, 1), 2), "not told"),
        (lambda: Packed(MLPDiscriminator(4, [4]), 0), "Packed needs"),
        (lambda: Packed(Packed(MLPDiscriminator(4, [4]), 2), 2), "once"),
    ],
)
def test_refuses_what_cannot_be_packed(make, message):
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
