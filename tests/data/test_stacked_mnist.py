"""Stacked MNIST on small files of MNIST's format, whose every digit's image tells its number."""

import struct

import pytest
import torch

from lit_gen.data.mnist import MNIST
from lit_gen.data.stacked_mnist import StackedMNIST
from lit_gen.errors import UserError

NUM_DIGITS = {"train": 40, "t10k": 12}


def write_idx(path, array: torch.Tensor) -> None:
    path.write_bytes(
        struct.pack(f">BBBB{array.dim()}i", 0, 0, 8, array.dim(), *array.shape) + bytes(array.flatten().tolist())
    )


@pytest.fixture
def root(tmp_path):
    """MNIST's four files: digit number n of training has grey level n, of test 100 + n; its class is n % 10."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in NUM_DIGITS.items():
        level = torch.arange(count, dtype=torch.uint8) + (100 if part == "t10k" else 0)
        write_idx(folder / f"{part}-images-idx3-ubyte", level.view(-1, 1, 1).expand(count, 28, 28))
        write_idx(folder / f"{part}-labels-idx1-ubyte", torch.arange(count) % 10)
    return str(tmp_path)


def make(root, **kwargs):
    counts = {"num_train": 300, "num_validation": 50, "num_test": 20, "num_held_out_digits": 8}
    return StackedMNIST(root, download=False, **{**counts, "batch_size": 30, "eval_batch_size": 16, **kwargs})


def levels(batch):
    """(B, 3) grey levels of images of one level a channel."""
    flat = batch.x.flatten(2)
    assert torch.equal(flat.amin(2), flat.amax(2))
    return (flat[..., 0] * 255).round().long()


def everything(data, split):
    batches = list(data.reference_loader(split))
    return torch.cat([levels(b) for b in batches]), torch.cat([b.label for b in batches])


def test_shapes_counts_and_labels(root):
    data = make(root)
    assert [data.num_examples(split) for split in ("train", "val", "test")] == [300, 50, 20]
    assert data.event_shape == (3, 28, 28)
    for split in ("train", "val", "test"):
        digit, label = everything(data, split)
        digit = (digit - (100 if split == "test" else 0)) % 10
        assert torch.equal(label, digit @ torch.tensor([100, 10, 1]))
    batch = next(iter(data.train_dataloader()))
    assert batch.x.shape == (30, 3, 28, 28) and batch.x.dtype == torch.float32
    assert torch.equal(batch.label, levels(batch) % 10 @ torch.tensor([100, 10, 1]))
    assert StackedMNIST().num_train == 128_000


def test_no_digit_is_in_two_splits(root):
    data = make(root)
    parts = {split: set(everything(data, split)[0].flatten().tolist()) for split in ("train", "val", "test")}
    held_out = MNIST(root, download=False, num_validation=8)._validation_rows(40).tolist()
    assert parts["val"] == set(held_out)
    assert parts["train"] == set(range(40)) - set(held_out)
    assert parts["test"] == set(range(100, 112))


def test_digits_are_drawn_uniformly_and_each_channel_for_itself(root):
    digit, _ = everything(make(root, num_train=30_000), "train")
    counts = torch.bincount(digit.flatten(), minlength=40)
    counts = counts[counts > 0].double()
    expected = 90_000 / 32
    assert len(counts) == 32
    assert ((counts - expected) ** 2 / expected).sum() < 31 + 6 * 62**0.5
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs((digit[:, a] == digit[:, b]).double().mean() - 1 / 32) < 0.006


def test_images_are_named_by_the_data_seed_alone(root):
    data, again, other = make(root), make(root), make(root, data_seed=1)
    assert data.fingerprint("train") == again.fingerprint("train") != other.fingerprint("train")
    assert len({data.fingerprint(split) for split in ("train", "val", "test")}) == 3


def test_memory_is_that_of_the_digits(root):
    data = make(root, num_train=200_000)
    data.setup()
    assert data._arrays.train.x.nbytes < 200_050 * 3 * 8 + 40 * 784 + 1


def test_other_sizes_are_resized(root):
    batch = next(iter(make(root, image_shape=(3, 32, 32)).test_dataloader()))
    assert batch.x.shape[1:] == (3, 32, 32)
    assert set(levels(batch).flatten().tolist()) <= set(range(100, 112))


def test_a_class_of_each_is_kept(root):
    data = make(root, num_train=40_000)
    count = data.num_classes
    assert count == 1000
    kept = make(root, num_train=40_000, num_labels=count)
    assert kept.num_examples("train") == count


def test_what_is_refused(root):
    for kwargs, match in (
        ({"image_shape": (1, 28, 28)}, "3, height, width"),
        ({"binarization": "threshold"}, "binarization must be none"),
        ({"num_train": 0}, "num_train"),
        ({"num_held_out_digits": 0}, "num_held_out_digits"),
    ):
        with pytest.raises(UserError, match=match):
            make(root, **kwargs)
    with pytest.raises(UserError, match="num_held_out_digits 40 leaves none of the 40 digits"):
        make(root, num_held_out_digits=40).setup()
    with pytest.raises(UserError, match="lacks"):
        StackedMNIST(root + "/nowhere", download=False).prepare_data()
