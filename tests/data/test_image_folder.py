"""Folders of image files."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.data import decoded_files
from lit_gen.data.array_file import ArrayFile
from lit_gen.data.image_folder import ImageFolder
from lit_gen.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save(path, value=0, size=(6, 6), mode="RGB") -> None:
    """An image of one colour: red is ``value``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value, 20, 30) if mode == "RGB" else value).save(path)


@pytest.fixture
def flat(tmp_path):
    for k in range(20):
        save(tmp_path / "flat" / f"{k:02}.png", 10 * k)
    return str(tmp_path / "flat")


def reds(data, split) -> list[int]:
    loader = data.reference_loader(split)
    return torch.cat([b.x for b in loader])[:, 0, 0, 0].mul(25.5).round().int().tolist()


def test_each_image_is_in_one_split_and_always_the_same(flat):
    data, again = (ImageFolder(flat, (3, 6, 6), split_seed=seed, num_validation=4) for seed in (0, 1))
    assert [data.num_examples(s) for s in ("train", "val", "test")] == [14, 4, 2]
    assert sorted(red for s in ("train", "val", "test") for red in reds(data, s)) == list(range(20))
    assert reds(data, "test") == reds(again, "test") and data.num_classes is None


def test_images_are_cut_about_the_centre_and_resized(tmp_path):
    picture = np.zeros((8, 24, 3), np.uint8)
    picture[:, 8:16] = 200  # the middle square is bright, both sides are dark
    for k in range(2):
        (tmp_path / "wide").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "wide" / f"{k}.png")
    data = ImageFolder(str(tmp_path / "wide"), (3, 4, 4), test_fraction=0.5)
    x = next(iter(data.test_dataloader())).x
    assert x.shape == (1, 3, 4, 4) and torch.equal(x, torch.full_like(x, 200 / 255))


def test_class_folders_give_labels_also_for_a_test_folder(tmp_path):
    for k, name in enumerate(("cat", "dog", "emu")):
        for n in range(4):
            save(tmp_path / "train" / name / "deeper" / f"{n}.jpg", 80 * k, mode="L")
    for n in range(2):
        save(tmp_path / "test" / "emu" / f"{n}.png", 160, mode="L")
    data = ImageFolder("train", (1, 6, 6), test_path="test", root=str(tmp_path), batch_size=12)
    batch = next(iter(data.train_dataloader()))
    assert torch.equal((batch.x[:, 0, 0, 0] * 255 / 80).round().long(), batch.label) and data.num_classes == 3
    assert next(iter(data.test_dataloader())).label.tolist() == [2, 2]
    save(tmp_path / "test" / "fox" / "0.png")
    with pytest.raises(UserError, match="class 'fox'; the classes are: cat, dog, emu"):
        ImageFolder("train", (1, 6, 6), test_path="test", root=str(tmp_path)).setup()
    save(tmp_path / "unsorted" / "0.png")
    with pytest.raises(UserError, match="no class folders"):
        ImageFolder("train", (1, 6, 6), test_path="unsorted", root=str(tmp_path)).setup()


def test_images_are_decoded_once_until_something_changes(flat, cache, monkeypatch):
    count = 0
    real = decoded_files.decode

    def counting(*args):
        nonlocal count
        count += 1
        return real(*args)

    monkeypatch.setattr(decoded_files, "decode", counting)
    ImageFolder(flat, (3, 6, 6)).setup()
    assert count == 20
    ImageFolder(flat, (3, 6, 6), num_validation=3).setup()
    assert count == 20
    ImageFolder(flat, (3, 5, 5)).setup()
    assert count == 40
    save(type(cache)(flat) / "07.png", 255)
    os.utime(type(cache)(flat) / "07.png", ns=(1, 1))
    changed = ImageFolder(flat, (3, 6, 6))
    assert 10 in reds(changed, "train") + reds(changed, "test") and count == 60
    for file in cache.rglob("*.npy"):  # a cache cut short by a full disk is made again
        file.write_bytes(file.read_bytes()[:200])
    assert 10 in reds(ImageFolder(flat, (3, 6, 6)), "train") + reds(ImageFolder(flat, (3, 6, 6)), "test")
    assert count == 80 and not list(cache.rglob("*.tmp"))


def test_hidden_names_links_and_all_suffixes(tmp_path):
    folder = tmp_path / "own"
    for name in ("cat", "dog"):
        for number, suffix in enumerate(("png", "jfif", "tga", "JPG", "webp", "bmp")):
            save(folder / name / f"{number}.{suffix}", 40 * number)
    save(folder / ".ipynb_checkpoints" / "0-checkpoint.png")
    save(folder / "cat" / ".ipynb_checkpoints" / "0-checkpoint.png")
    save(folder / "dog" / "._0.png")
    (folder / "notes.txt").write_text("hello")
    save(tmp_path / "elsewhere" / "0.png")
    (folder / "emu").symlink_to(tmp_path / "elsewhere")
    (folder / "cat" / "linked.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    description = ImageFolder(str(folder), (3, 6, 6)).description()
    assert sum(size.examples for size in description.splits.values()) == 6 + 6 + 1 + 1
    assert description.splits["train"].classes == 3
    assert {reason: entry.count for reason, entry in description.passed_over.items()} == {
        "hidden": 3,
        "without a suffix of a picture that Pillow reads": 1,
    }


def test_what_was_unusual_is_remembered_by_cached_runs(tmp_path, cache, monkeypatch):
    save(tmp_path / "own" / "00.png", 250)
    for number in range(1, 10):
        save(tmp_path / "own" / f"{number:02}.png", 250)
    Image.new("RGBA", (6, 6), (200, 0, 0, 0)).save(tmp_path / "own" / "03.png")
    options = ({}, {"background": "black"})
    first = [ImageFolder(str(tmp_path / "own"), (3, 6, 6), **option) for option in options]
    remarks = [data.description().remarks for data in first]
    assert remarks == [
        [f"transparency laid over {colour} in 1 of 10 pictures (03.png)"] for colour in ("white", "black")
    ]
    assert first[0].fingerprint("train") != first[1].fingerprint("train"), "the background is a part of what is cached"

    def never(*args):
        raise AssertionError("decoded again")

    monkeypatch.setattr(decoded_files, "decode", never)
    again = [ImageFolder(str(tmp_path / "own"), (3, 6, 6), **option) for option in options]
    assert [data.description().remarks for data in again] == remarks
    monkeypatch.undo()
    monkeypatch.setenv("LIT_GEN_CACHE", str(cache))
    for file in cache.rglob("*.json"):
        file.unlink()
    assert ImageFolder(str(tmp_path / "own"), (3, 6, 6)).description().remarks == remarks[0]


def test_pixels_of_a_folder_of_masks(tmp_path):
    masks = np.random.default_rng(0).integers(0, 2, (20, 6, 6), dtype=np.uint8)
    (tmp_path / "own").mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / "own" / f"{number:02}.png")
    with pytest.raises(UserError, match="no value above 1, where 255 is white: say by max_value"):
        ImageFolder(str(tmp_path / "own"), (1, 6, 6)).setup()
    data = ImageFolder(str(tmp_path / "own"), (1, 6, 6), max_value=1)
    x = torch.cat([batch.x for split in ("train", "test") for batch in data.reference_loader(split)])
    assert sorted(map(bytes, x.byte().numpy())) == sorted(map(bytes, masks))


@pytest.mark.parametrize("side", [6, 40])
def test_masks_are_seen_before_they_are_resized(tmp_path, side):
    """One white pixel in a hundred is black once it is resized to a tenth, of 0 and 1."""
    (tmp_path / "own").mkdir()
    for number in range(10):
        mask = np.zeros((60, 60), np.uint8)
        mask[::10, ::10] = 1
        Image.fromarray(mask).save(tmp_path / "own" / f"{number:02}.png")
    np.save(tmp_path / "own.npy", np.stack([mask] * 10))
    for data in (ImageFolder(str(tmp_path / "own"), (1, side, side)), ArrayFile(str(tmp_path / "own.npy"), (1, 6, 6))):
        for _ in range(2):  # from the cache as well
            with pytest.raises(UserError, match="no value above 1, where 255 is white"):
                data.setup()


def test_names_that_are_not_utf_8(tmp_path, flat):
    folder = type(tmp_path)(flat)
    expected = ImageFolder(flat, (3, 6, 6)).fingerprint("train")
    os.rename(folder / "07.png", os.path.join(os.fsencode(folder), b"07\xff.png"))
    os.rename(folder, os.fsencode(folder) + b"\xfe")
    data = ImageFolder(flat + "\udcfe", (3, 6, 6))
    assert data.fingerprint("train") == expected
    assert data.description().origin == flat + r"\xfe"


def test_bad_folders_and_images_are_named(tmp_path, flat):
    folder = type(tmp_path)(flat)
    for path, message in (
        (str(tmp_path / "nowhere"), "There is no .*nowhere"),
        (str(folder / "00.png"), "not a folder of images"),
        (str(tmp_path / "empty"), "holds no images"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=message):
            ImageFolder(path, (3, 6, 6)).setup()
    with pytest.raises(UserError, match="1 or 3 channels, not the 2"):
        ImageFolder(flat, (2, 6, 6))
    whole = (folder / "03.png").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"not an image"):
        (folder / "03.png").write_bytes(damaged)
        with pytest.raises(UserError, match=r"03.png (cannot be read as an image|is empty \(0)") as caught:
            ImageFolder(flat, (3, 6, 6)).setup()
        assert "\n" not in str(caught.value)
    Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(folder / "03.png")
    with pytest.raises(UserError, match=r"03.png has more than 8 bits"):
        ImageFolder(flat, (1, 6, 6)).setup()
    (folder / "03.png").unlink()
    save(folder / "inner" / "0.png")
    with pytest.raises(UserError, match="one or the other"):
        ImageFolder(flat, (3, 6, 6)).setup()


def test_a_cache_that_cannot_be_written_is_named(flat, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"Cannot keep decoded images in .*cache.*LIT_GEN_CACHE"):
        ImageFolder(flat, (3, 6, 6)).setup()
