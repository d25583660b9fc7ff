"""Images in NumPy files."""

import zipfile

import numpy as np
import pytest
import torch

from lit_gen.data.array_file import ArrayFile
from lit_gen.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), dtype=np.uint8)


def test_every_layout_gives_the_same_images(tmp_path):
    for name, array in (
        ("nchw.npy", IMAGES),
        ("nhwc.npy", IMAGES.transpose(0, 2, 3, 1)),
        ("float.npy", IMAGES / 255),
    ):
        np.save(tmp_path / name, array)
        data = ArrayFile(str(tmp_path / name), (3, 4, 5))
        assert [data.num_examples(s) for s in ("train", "test")] == [18, 2]
        x = torch.cat([batch.x for s in ("train", "test") for batch in data.reference_loader(s)])
        assert torch.allclose(x, torch.from_numpy(IMAGES) / 255)
        assert data.num_classes is None
    np.save(tmp_path / "nhw.npy", IMAGES[:, 0])
    x = next(iter(ArrayFile(str(tmp_path / "nhw.npy"), (1, 4, 5), test_fraction=0.5).test_dataloader())).x
    assert torch.equal(x, torch.from_numpy(IMAGES[10:, :1]) / 255)
    np.save(tmp_path / "bits.npy", IMAGES[:, 0] > 100)
    x = next(iter(ArrayFile(str(tmp_path / "bits.npy"), (1, 4, 5)).test_dataloader())).x
    assert torch.equal(x, torch.from_numpy(IMAGES[18:, :1] > 100).float())


def test_npz_with_labels_and_a_test_file(tmp_path):
    np.savez(tmp_path / "a.npz", pictures=IMAGES, kind=np.arange(20, dtype=np.uint8) % 4)
    np.savez(tmp_path / "b.npz", pictures=IMAGES[:6], kind=np.full(6, 5))
    data = ArrayFile(
        "a.npz",
        (3, 4, 5),
        images_key="pictures",
        labels_key="kind",
        test_path="b.npz",
        root=str(tmp_path),
        batch_size=20,
    )
    assert [data.num_examples(s) for s in ("train", "test")] == [20, 6] and data.num_classes == 6
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch.label, batch.index % 4)
    assert torch.equal(batch.x, torch.from_numpy(IMAGES)[batch.index] / 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, np.float64, ">i4", ">f8"])
@pytest.mark.parametrize("max_value", [1, 15, 16, 200, 255, 65535])
def test_the_value_that_is_white_may_be_any(tmp_path, dtype, max_value):
    highest = min(max_value, 255) if dtype == np.uint8 else max_value
    array = np.random.default_rng(0).integers(0, highest + 1, (20, 1, 4, 5)).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    data = ArrayFile(str(tmp_path / "x.npy"), (1, 4, 5), max_value=max_value)
    x = torch.cat([batch.x for split in ("train", "test") for batch in data.reference_loader(split)])
    expected = (array.astype(np.float64) / max_value).astype(np.float32)
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-6)
    assert data.description().remarks == [f"values divided by max_value {max_value}"]
    assert np.array_equal(np.load(tmp_path / "x.npy"), array), "the file stays as it is"


def test_masks_of_bytes_are_what_masks_of_bools_are(tmp_path):
    masks = IMAGES[:, :1] > 100
    np.save(tmp_path / "bool.npy", masks)
    np.save(tmp_path / "byte.npy", masks.astype(np.uint8))
    bools = ArrayFile(str(tmp_path / "bool.npy"), (1, 4, 5))
    bytes_ = ArrayFile(str(tmp_path / "byte.npy"), (1, 4, 5), max_value=1)
    assert bools.fingerprint("train") == bytes_.fingerprint("train")


def test_dark_images_are_read_once_the_config_says_that_they_are(tmp_path):
    np.save(tmp_path / "dark.npy", IMAGES // 32)
    with pytest.raises(UserError, match=r"no value above 7, where 255 is white: .* 7 or \(if they are so dark\) 255"):
        ArrayFile(str(tmp_path / "dark.npy"), (3, 4, 5)).setup()
    data = ArrayFile(str(tmp_path / "dark.npy"), (3, 4, 5), max_value=255)
    assert data.description().values == (0, 7 / 255)
    one_bright = IMAGES // 32
    one_bright[-1, 0, 0, 0] = 17  # a test image
    np.save(tmp_path / "dark.npy", one_bright)
    ArrayFile(str(tmp_path / "dark.npy"), (3, 4, 5)).setup()


def test_other_members_of_an_archive_are_not_read(tmp_path):
    np.savez(tmp_path / "x.npz", x=IMAGES, odd=np.array([{}, 1], dtype=object))
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as file:
        file.writestr("readme.txt", "hello")
    data = ArrayFile(str(tmp_path / "x.npz"), (3, 4, 5))
    assert data.description().passed_over["arrays not asked for"].first == ["odd", "readme.txt"]


def test_a_path_is_found_in_the_working_folder_and_under_the_root(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    np.save(tmp_path / "here" / "x.npy", IMAGES)
    monkeypatch.setenv("LIT_GEN_DATA", str(tmp_path / "here"))
    assert ArrayFile("x.npy", (3, 4, 5)).num_examples("test") == 2
    monkeypatch.delenv("LIT_GEN_DATA")
    monkeypatch.chdir(tmp_path / "here")
    assert ArrayFile("x.npy", (3, 4, 5)).num_examples("test") == 2


def test_the_file_is_mapped_and_never_changed(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, IMAGES)
    before = path.read_bytes()
    data = ArrayFile(str(path), (3, 4, 5), batch_size=4)
    data.setup()
    data._arrays.train.x.zero_()
    assert path.read_bytes() == before


def test_bad_files_are_named_with_what_would_be_right(tmp_path):
    def saved(name, save, *args, **kwargs) -> str:
        save(tmp_path / name, *args, **kwargs)
        return str(tmp_path / name)

    def bytes_of(name, content) -> str:
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    good = saved("good.npy", np.save, IMAGES)
    packed = saved("good.npz", np.savez, pictures=IMAGES, kind=np.zeros(20))
    spoilt = IMAGES / 255
    spoilt[2, 0, 0, :2] = np.nan
    for path, options, message in (
        (str(tmp_path / "none.npy"), {}, r"There is no .*none.npy.*LIT_GEN_DATA"),
        (bytes_of("empty.npy", b""), {}, r"empty.npy is empty"),
        (bytes_of("short.npy", (tmp_path / "good.npy").read_bytes()[:500]), {}, r"short.npy \(500 bytes\).*cut short"),
        (bytes_of("short.npz", (tmp_path / "good.npz").read_bytes()[:500]), {}, r"short.npz \(500 bytes\).*cut short"),
        (bytes_of("text.npy", b"not an array"), {}, r"text.npy.*cannot be read"),
        (saved("pickled.npy", np.save, np.array([{}, 1], dtype=object)), {}, r"pickled.npy.*cannot be read"),
        (str(tmp_path), {}, "is a folder.*ImageFolder"),
        (packed, {}, r"no array 'x'; it holds pictures \[20, 3, 4, 5\] uint8, kind \[20\] float64: set images_key"),
        (packed, {"images_key": "pictures", "labels_key": "y"}, "no array 'y'.*set labels_key"),
        (packed, {"images_key": "pictures", "labels_key": "kind"}, "'kind' must be integers"),
        (good, {"labels_key": "y"}, "without labels"),
        (saved("nan.npy", np.save, spoilt), {}, "nan.npy holds 2 values that are NaN or infinite"),
        (saved("big.npy", np.save, IMAGES.astype(np.float32)), {}, r"big.npy holds values from 0 to 255"),
        (saved("int.npy", np.save, IMAGES.astype(np.int64)), {}, "holds int64 from 0 to 255: images must be uint8"),
        (saved("flat.npy", np.save, IMAGES[:, 0, 0]), {}, r"has shape \[20, 5\]"),
        (saved("grey.npy", np.save, IMAGES[:, 0]), {}, "asks for 3 channels"),
        (saved("both.npy", np.save, IMAGES[:, :, :, :3]), {}, "channels first or last"),
        (saved("none.npz", np.savez), {}, "it holds nothing"),
        (saved("one.npy", np.save, IMAGES[:1]), {}, "test_fraction 0.1 makes 0 of them"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            ArrayFile(path, (3, 4, 5), **options).setup()
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="between 0 and 1"):
        ArrayFile(good, (3, 4, 5), test_fraction=1.0)
