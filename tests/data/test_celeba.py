"""CelebA's files: small stand-ins of the same format, whose images say which they are."""

import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.data import decoded_files
from lit_gen.data.celeba import CelebA
from lit_gen.errors import UserError

SPLITS = [0, 2, 1, 0, 0, 2, 1, 0, 0, 0]
SMILES = [1, -1, -1, 1, -1, 1, 1, -1, -1, 1]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Image n has the grey 20 n, but for a white frame outside the middle 100 x 100."""
    images = tmp_path / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    names = [f"{n + 1:06}.jpg" for n in range(len(SPLITS))]
    for n, name in enumerate(names):
        pixels = np.full((218, 178, 3), 255, np.uint8)
        pixels[59:159, 39:139] = 20 * n
        Image.fromarray(pixels).save(images / name, quality=100)
    lines = [f"{name} {split}" for name, split in zip(names, SPLITS, strict=True)]
    (images.parent / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    lines = [f"{name}  -1 {smile:2} 1" for name, smile in zip(names, SMILES, strict=True)]
    head = f"{len(names)}\nBald Smiling Young \n"
    (images.parent / "list_attr_celeba.txt").write_text(head + "\n".join(lines) + "\n")
    return images.parent


def numbers(data, split) -> list[int]:
    x = torch.cat([b.x for b in data.reference_loader(split)])
    return x.mean((1, 2, 3)).mul(255 / 20).round().long().tolist()


def test_splits_are_the_lists(folder):
    data = CelebA(root=str(folder.parent), side=96, image_shape=(3, 8, 8), batch_size=2)
    assert numbers(data, "train") == [0, 3, 4, 7, 8, 9]
    assert numbers(data, "val") == [2, 6]
    assert numbers(data, "test") == [1, 5]
    assert data.num_classes is None and data.class_names is None
    assert len(data.val_dataloader()) == 1


def test_the_middle_is_cut_out(folder):
    exact = CelebA(root=str(folder.parent), side=100, image_shape=(1, 50, 50))
    x = torch.cat([b.x for b in exact.reference_loader("test")])
    assert x.shape == (2, 1, 50, 50)
    assert torch.allclose(x[1], torch.tensor(100 / 255), atol=0.02), "nothing of the frame"
    wide = CelebA(root=str(folder.parent), side=140, image_shape=(1, 70, 70))
    x = torch.cat([b.x for b in wide.reference_loader("test")])
    assert torch.allclose(x[1, 0, :9], torch.tensor(1.0), atol=0.02), "ten of the seventy rows are frame"
    assert torch.allclose(x[1, 0, 11:59, 11:59], torch.tensor(100 / 255), atol=0.02)


def test_an_attribute_is_the_label(folder):
    data = CelebA(root=str(folder.parent), attribute="Smiling", image_shape=(3, 8, 8), batch_size=2)
    labels = {
        split: torch.cat([b.label for b in data.reference_loader(split)]).tolist() for split in ("train", "val", "test")
    }
    assert labels == {"train": [1, 1, 0, 0, 0, 1], "val": [0, 1], "test": [0, 1]}
    assert data.num_classes == 2 and data.class_names == ["not Smiling", "Smiling"]


def test_images_are_decoded_once_for_each_cut(folder, monkeypatch):
    count = 0
    real = decoded_files.decode

    def counting(*args):
        nonlocal count
        count += 1
        return real(*args)

    monkeypatch.setattr(decoded_files, "decode", counting)
    for _ in range(2):
        CelebA(root=str(folder.parent), image_shape=(3, 8, 8)).prepare_data()
    assert count == 10
    CelebA(root=str(folder.parent), image_shape=(3, 8, 8), side=178).prepare_data()
    assert count == 20


def test_what_is_missing_or_damaged_is_named(folder):
    def refused(**arguments) -> str:
        with pytest.raises(UserError) as caught:
            CelebA(root=str(folder.parent), image_shape=(3, 8, 8), **arguments).prepare_data()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
        return str(caught.value)

    partition, attributes = folder / "list_eval_partition.txt", folder / "list_attr_celeba.txt"
    assert "has no attribute 'Grinning': it has Bald, Smiling, Young" in refused(attribute="Grinning")
    assert "smaller than the 200 x 200" in refused(side=200)
    assert "side must be at least 1" in refused(side=0)
    attributes.write_text("".join(attributes.read_text().splitlines(keepends=True)[:6]))
    assert "list_attr_celeba.txt has no 1 or -1 for each image" in refused(attribute="Young")
    attributes.unlink()
    assert "list_attr_celeba.txt cannot be read" in refused(attribute="Young")

    image = folder / "img_align_celeba" / "000004.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:300])
    assert "000004.jpg cannot be read as an image" in refused()
    image.unlink()
    assert "lacks 1 of the 10 images of list_eval_partition.txt, 000004.jpg the first" in refused()

    lines = partition.read_text().splitlines()
    partition.write_text("\n".join(["000001.jpg", *lines[1:]]))
    assert "line 1: expected a file name and 0, 1 or 2, got '000001.jpg'" in refused()
    partition.write_text("\n".join([lines[0], lines[3]]))
    assert "no training or no test images" in refused()
    partition.write_text("")
    assert "empty or cut short" in refused()
    partition.unlink()
    assert "list_eval_partition.txt cannot be read" in refused()
    with pytest.raises(UserError, match="1 or 3 channels, not the 2"):
        CelebA(image_shape=(2, 8, 8))
