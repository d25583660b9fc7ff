"""The packaged weights, against the network and the data that they were trained with."""

import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torchvision.datasets import MNIST

from lit_gen.errors import UserError
from lit_gen.metrics.features.lenet import PACKAGED_WEIGHTS, LeNet
from lit_gen.metrics.fid import FeatureMoments, frechet_distance
from lit_gen.networks import lenet


@pytest.fixture(scope="module")
def network():
    network = lenet.LeNet()
    network.load_state_dict(load_file(PACKAGED_WEIGHTS))
    return network.eval()


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's 1,797 digits, (N, 1, 8, 8) in [0, 1], and their labels."""
    bundled = load_digits()
    return torch.tensor(bundled.images, dtype=torch.float32)[:, None] / 16, torch.tensor(bundled.target)


def mnist_test_images(digits):
    """MNIST's test set, or what comes nearest to it without a download; and the accuracy to expect.

    Without LIT_GEN_DATA, or without MNIST there: scikit-learn's digits at MNIST's size (20 pixels in a frame of 28),
    another set of another pen, on which these weights were measured at 95.4 %.
    """
    root = os.environ.get("LIT_GEN_DATA")
    if root and (Path(root) / "MNIST" / "raw").is_dir():
        test = MNIST(root, train=False)
        return test.data[:, None] / 255, test.targets, 0.990
    x, label = digits
    return F.pad(F.interpolate(x, size=(20, 20), mode="bilinear", antialias=True), (4, 4, 4, 4)), label, 0.93


def test_the_classifier_behind_the_features_is_a_good_one(network, digits):
    x, label, least = mnist_test_images(digits)
    with torch.no_grad():
        predicted = torch.cat([network(part).argmax(1) for part in x.split(1000)])
    assert (predicted == label).float().mean() >= least


def test_fits_into_the_package():
    assert PACKAGED_WEIGHTS.stat().st_size < 500_000


def test_features_are_those_of_the_network(network):
    x = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    features = LeNet()(x)
    assert features.shape == (5, LeNet.num_features)
    torch.testing.assert_close(features, network.features(x))


def test_one_image_keeps_its_dimension():
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(LeNet()(x[:1]), LeNet()(x)[:1])


def test_equal_channels_are_grey_and_other_sizes_are_resized():
    grey = torch.rand(2, 1, 8, 8)
    extractor = LeNet()
    torch.testing.assert_close(extractor(grey.expand(-1, 3, -1, -1)), extractor(grey))
    # Constant images look alike at any size.
    flat = torch.full((1, 1, 56, 40), 0.25)
    torch.testing.assert_close(extractor(flat), extractor(torch.full((1, 1, 28, 28), 0.25)))


def test_tells_noise_and_a_single_digit_from_digits(digits):
    extractor = LeNet()

    def moments(x):
        metric = FeatureMoments(extractor.num_features)
        metric.update(extractor(x))
        return metric.compute()

    x, label = digits
    real = moments(x[::2])
    held_out = frechet_distance(real, moments(x[1::2]))
    noise = frechet_distance(real, moments(torch.rand(900, 1, 8, 8, generator=torch.Generator().manual_seed(0))))
    collapsed = frechet_distance(real, moments(x[label == 3]))
    assert 10 * held_out < min(noise, collapsed)


def test_building_it_draws_nothing_from_the_models_stream():
    torch.manual_seed(3)
    LeNet()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)


def test_bad_files_of_weights(tmp_path):
    missing = tmp_path / "none.safetensors"
    with pytest.raises(UserError, match=re.escape(str(missing))):
        LeNet(missing)
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"junk" * 50)
    other = tmp_path / "other.safetensors"
    save_file({"features.0.weight": torch.zeros(3)}, other)
    for file in (junk, other):
        with pytest.raises(UserError, match="isn't a safetensors file of a LeNet"):
            LeNet(file)
