"""The bundled digits."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from lit_gen.data.digits import Digits


def test_every_digit_is_in_exactly_one_split_with_its_grey_values():
    data = Digits()
    assert [data.num_examples(s) for s in ("train", "val", "test")] == [1100, 197, 500]
    x = torch.cat([b.x for s in ("train", "val", "test") for b in data.reference_loader(s)])
    reference = load_digits().images
    assert x.shape == (1797, 1, 8, 8) and data.num_classes == 10
    levels = (x.numpy().reshape(1797, -1) * 16).round()
    assert np.abs(x.numpy().reshape(1797, -1) * 16 - levels).max() < 0.5 * 16 / 255 + 1e-6
    assert sorted(map(tuple, levels)) == sorted(map(tuple, reference.reshape(1797, -1)))


def test_labels_go_with_their_images_and_classes_are_balanced():
    digits = load_digits()
    known = {tuple(image.flatten()): label for image, label in zip(digits.images, digits.target, strict=True)}
    data = Digits()
    for split in ("train", "val", "test"):
        loader = data.reference_loader(split)
        label = torch.cat([b.label for b in loader])
        x = torch.cat([b.x for b in loader]).mul(16).round().flatten(1)
        assert all(known[tuple(image)] == k for image, k in zip(x.tolist(), label.tolist(), strict=True))
        share = label.bincount(minlength=10) / len(label)
        assert share.min() > 0.05 and share.max() < 0.15
