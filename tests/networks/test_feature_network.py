import pytest
import torch
from torch import nn

from lit_gen.networks.dcgan import DCGANDiscriminator
from lit_gen.networks.feature_network import FeatureNetwork
from lit_gen.networks.mlp import MLP
from lit_gen.protocols import ReadsFeatures

NETWORKS = {
    "feature_network": lambda: FeatureNetwork(MLP((1, 8, 8), 5, [8], output_activation=nn.LeakyReLU), MLP(5, (), [])),
    "dcgan_discriminator": lambda: DCGANDiscriminator((1, 8, 8), base_channels=4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_output_is_read_off_the_features(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    assert isinstance(network, ReadsFeatures)
    x = torch.rand(4, 1, 8, 8)
    features = network.features(x)
    assert features.dim() == 2
    assert torch.equal(network(x), network.from_features(features))
    assert network(x).shape == (4,)


def test_a_plain_network_has_no_features_to_ask_for():
    assert not isinstance(MLP(2, (), []), ReadsFeatures)
