import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.instance_noise import InstanceNoise
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.protocols import FollowsSteps
from lit_gen.schedules import CosineAnnealing


class Echo(nn.Module):
    in_shape = (2,)

    def forward(self, x):
        return x


def test_in_training_the_input_comes_under_gaussian_noise_of_that_std():
    torch.manual_seed(0)
    noise = InstanceNoise(Echo(), 0.3)(torch.full((20_000, 2), 0.7)) - 0.7
    standard_error = 0.3 / 40_000**0.5
    assert abs(noise.mean()) < 4 * standard_error
    assert abs(noise.std() - 0.3) < 4 * standard_error
    assert abs(noise.pow(4).mean() / 0.3**4 - 3.0) < 4 * (96 / 40_000) ** 0.5  # a Gaussian's kurtosis
    assert abs((noise[:, 0] * noise[:, 1]).mean()) < 4 * 0.09 / 20_000**0.5


def test_in_evaluation_it_comes_as_it_is():
    x = torch.rand(5, 2)
    assert torch.equal(InstanceNoise(Echo(), 0.3).eval()(x), x)
    assert torch.equal(InstanceNoise(Echo(), 0.0)(x), x)


def test_the_std_follows_the_steps():
    network = InstanceNoise(Echo(), CosineAnnealing(100, start=0.4))
    assert isinstance(network, FollowsSteps)
    x = torch.zeros(4000, 2)
    spread = []
    for step in (0, 50, 100):
        network.at_step(step)
        spread.append(float(network(x).std()))
    assert spread == pytest.approx([0.4, 0.2, 0.0], abs=0.01)


def test_features_and_scores_see_one_draw():
    network = InstanceNoise(MLPDiscriminator(2, [5]), 0.5)
    x = torch.rand(4, 2)
    torch.manual_seed(0)
    scores = network.from_features(network.features(x))
    torch.manual_seed(0)
    assert torch.equal(network(x), scores)
    assert not torch.equal(network(x), scores)


def test_a_schedule_can_be_said_in_a_config():
    parser = ArgumentParser()
    parser.add_subclass_arguments(nn.Module, "network")
    config = {
        "class_path": "lit_gen.networks.InstanceNoise",
        "init_args": {
            "network": {
                "class_path": "lit_gen.networks.MLPDiscriminator",
                "init_args": {"in_shape": 2, "hidden_dims": [8]},
            },
            "std": {"class_path": "lit_gen.schedules.CosineAnnealing", "init_args": {"start": 0.5, "num_steps": 10}},
        },
    }
    network = parser.instantiate_classes(parser.parse_object({"network": config})).network
    assert network.std == 0.5
    network.at_step(10)
    assert network.std == 0.0


def test_refuses_a_negative_std():
    with pytest.raises(UserError, match=r"0 or more, got -1\.0 at step 0"):
        InstanceNoise(Echo(), -1.0)
    network = InstanceNoise(Echo(), lambda step: 1.0 - step)
    with pytest.raises(UserError, match="at step 2"):
        network.at_step(2)
