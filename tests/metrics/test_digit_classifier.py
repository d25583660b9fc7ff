"""The classifier of digits against the network whose weights it takes, and on digits."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from lit_gen.data.digits import Digits
from lit_gen.errors import UserError
from lit_gen.metrics.digit_classifier import DigitClassifier
from lit_gen.metrics.features.lenet import PACKAGED_WEIGHTS
from lit_gen.networks.lenet import LeNet


def digits():
    return next(iter(Digits(eval_batch_size=300).test_dataloader()))


def test_classes_are_those_of_the_network():
    network = LeNet().eval()
    network.load_state_dict(load_file(PACKAGED_WEIGHTS))
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    classifier = DigitClassifier()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(classifier(x), network(x).argmax(1))
    assert classifier.num_classes == 10 and not any(p.requires_grad for p in classifier.parameters())


def test_it_reads_digits_of_another_hand_and_size():
    batch = digits()
    assert (DigitClassifier()(batch.x) == batch.label).float().mean() > 0.75


def test_channels_are_the_figures_of_a_number():
    x = digits().x[:30]
    classifier = DigitClassifier()
    stacked = x.view(10, 3, 8, 8)
    a, b, c = classifier(x).view(10, 3).unbind(1)
    assert torch.equal(classifier.stacked(stacked), 100 * a + 10 * b + c)
    with pytest.raises(UserError, match="not of shape"):
        classifier.stacked(x)


def test_a_file_without_the_last_layer(tmp_path):
    state = {k: v for k, v in load_file(PACKAGED_WEIGHTS).items() if k.startswith("features.")}
    save_file(state, tmp_path / "features.safetensors")
    with pytest.raises(UserError, match="holds no LeNet's last layer"):
        DigitClassifier(tmp_path / "features.safetensors")
    with pytest.raises(UserError, match="no LeNet weights"):
        DigitClassifier(tmp_path / "missing.safetensors")
