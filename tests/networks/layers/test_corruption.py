"""Corruptions: how often and how far, and nothing at all in evaluation."""

import pytest
import torch

from lit_gen.errors import UserError
from lit_gen.networks.layers.corruption import GaussianNoise, MaskingNoise, SaltAndPepperNoise

X = torch.full((400, 1, 10, 10), 0.7)


def test_masking_sets_a_share_to_0_and_leaves_the_rest_alone():
    torch.manual_seed(0)
    y = MaskingNoise(0.25)(X)
    assert set(y.unique().tolist()) == {0.0, X[0, 0, 0, 0].item()}
    assert abs((y == 0).float().mean() - 0.25) < 4 * (0.25 * 0.75 / y.numel()) ** 0.5
    assert torch.equal(MaskingNoise(0.0)(X), X)
    assert MaskingNoise(1.0)(X).abs().max() == 0


def test_salt_and_pepper_are_of_equal_share():
    torch.manual_seed(0)
    y = SaltAndPepperNoise(0.3)(X)
    tolerance = 4 * (0.15 * 0.85 / y.numel()) ** 0.5
    assert abs((y == 0).float().mean() - 0.15) < tolerance
    assert abs((y == 1).float().mean() - 0.15) < tolerance
    assert (y[(y != 0) & (y != 1)] == X[0, 0, 0, 0]).all()


def test_gaussian_noise_has_its_standard_deviation_and_no_mean():
    torch.manual_seed(0)
    noise = GaussianNoise(0.5)(X) - X
    assert abs(noise.mean()) < 4 * 0.5 / noise.numel() ** 0.5
    assert abs(noise.std() - 0.5) < 4 * 0.5 / (2 * noise.numel()) ** 0.5


@pytest.mark.parametrize("layer", [MaskingNoise(0.5), SaltAndPepperNoise(0.5), GaussianNoise(0.5)])
def test_draws_follow_the_global_seed_and_evaluation_is_clean(layer):
    layer.train()
    torch.manual_seed(1)
    first = layer(X)
    torch.manual_seed(1)
    assert torch.equal(layer(X), first)
    assert not torch.equal(layer(X), first)
    assert layer.eval()(X) is X


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_refuses_what_is_no_probability_or_no_deviation(bad):
    for kind in (MaskingNoise, SaltAndPepperNoise):
        with pytest.raises(UserError, match=rf"{kind.__name__} needs a probability in \[0, 1\]"):
            kind(bad)
    with pytest.raises(UserError, match="GaussianNoise needs a std of 0 or more"):
        GaussianNoise(-abs(bad))
