"""Data that are not what they seem: one line that names the file and what would be right, and no run folder."""

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_gen.cli.main import main
from lit_gen.data import MNIST, ArrayFile, ImageFolder
from lit_gen.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
LABELS = np.arange(60) % 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))


def refused(data) -> str:
    """The one line that says why ``data`` are refused."""
    with pytest.raises(UserError) as caught:
        data.setup()
    message = " ".join(str(caught.value).split())  # as the command line prints it
    assert message.isprintable() and len(message) < 380
    return message


def archive(folder: Path, **arrays) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def with_member(folder: Path, name: str, content: bytes, **arrays) -> Path:
    """An archive that holds another kind of file as well."""
    path = archive(folder, **arrays)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, content)
    return path


def damaged(folder: Path) -> Path:
    path = archive(folder, x=IMAGES)
    content = bytearray(path.read_bytes())
    content[400:420] = bytes(20)
    path.write_bytes(content)
    return path


def labelled(label):
    return lambda folder: archive(folder, x=IMAGES, y=label)


# What there is, and what is said of it.
ARRAYS = {
    "masks of 0 and 1": (
        lambda f: archive(f, x=IMAGES // 128),
        "no value above 1, where 255 is white: say by",
    ),
    "grey in 4 bits": (lambda f: archive(f, x=IMAGES // 16), "no value above 15, where 255 is white"),
    "divided twice": (lambda f: archive(f, x=IMAGES / 255 / 255), "no value above 0.00392157, where 1 is white"),
    "from -1 to 1": (lambda f: archive(f, x=IMAGES / 127.5 - 1), "Save (x + 1) / 2"),
    "floats to 255": (lambda f: archive(f, x=IMAGES * 1.0), "Say by max_value which value is white (255 is"),
    "int64": (lambda f: archive(f, x=IMAGES.astype(int)), "holds int64 from 0 to 255"),
    "complex": (lambda f: archive(f, x=IMAGES * 1j), "holds complex128"),
    "no width": (lambda f: archive(f, x=IMAGES[:, :, :0]), "holds no examples: its shape is [60, 1, 8, 0]"),
    "one number": (lambda f: archive(f, x=np.uint8(3)), "has shape []: images are"),
    "text for images": (lambda f: with_member(f, "x", b"hello", y=LABELS), "'x' (images_key) is no array but"),
    "a zip for images": (lambda f: with_member(f, "x.npy", b"PK\3\4", y=LABELS), "'x' (images_key) is no array but"),
    "objects": (lambda f: archive(f, x=np.array([{}, 1])), "'x' (images_key) is an array of Python objects"),
    "a damaged member": (damaged, "'x' (images_key) is damaged"),
    "text beside others": (
        lambda f: with_member(f, "notes.txt", b"hello", z=IMAGES),
        "it holds z [60, 8, 8] uint8, notes.txt (no array but another kind of file)",
    ),
    "a huge label": (
        labelled(np.r_[LABELS[:59], 2**62]),
        "that of example 59 is 4611686018427387904, which makes more classes than the 60 examples",
    ),
    "a label beyond int64": (
        labelled(np.r_[LABELS[:59].astype(np.uint64), np.array([2**64 - 1], np.uint64)]),
        "that of example 59 is 18446744073709551615",
    ),
    "a negative label": (labelled(LABELS - 1), "must not be negative: that of example 0 is -1"),
    "labels from 1": (labelled(LABELS + 1), "labels 'y' begin at 1"),
    "labels that are floats": (labelled(LABELS * 1.0), "must be integers from 0, one an example; they are float64"),
    "labels that are words": (labelled(np.array(["cat"] * 60)), "must be integers from 0"),
    "one-hot labels": (labelled(np.eye(3, dtype=int)[LABELS]), "have shape [60, 3]: they must be 60 integers"),
    "too few labels": (labelled(LABELS[:50]), "have shape [50]: they must be 60 integers"),
    "text for labels": (lambda f: with_member(f, "y", b"hello", x=IMAGES), "'y' (labels_key) is no array but"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays(tmp_path, what):
    write, message = ARRAYS[what]
    line = refused(ArrayFile(str(write(tmp_path)), (1, 8, 8), labels_key="y" if "label" in what else None))
    assert "own.npz" in line and message in line


@pytest.mark.parametrize("what", ["masks of 0 and 1", "text for images", "a huge label"])
def test_arrays_on_the_command_line(refused_fit, tmp_path, what):
    write, message = ARRAYS[what]
    data = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]", f"--data.path={write(tmp_path)}"]
    assert message in refused_fit(*data, *(["--data.labels_key=y"] if "label" in what else []))


VALUES = {
    "--data.max_value=1": "holds values from 0 to 255: with max_value 1 they must be from 0 to that",
    "--data.max_value=0": "max_value is the value that is white: it must be positive and finite, not 0",
    "--data.max_value=.nan": "must be positive and finite, not nan",
    "--data.path=": "The data's path is empty",
    "--data.path=~nobody.at.all/x.npz": "cannot be looked at: Could not determine home directory",
    "--data.path=" + "x" * 3000: "cannot be looked at: File name too long",
    "--data.path=a\udcffb.npz": r"--data.path=a\xffb.npz isn't UTF-8",
}


@pytest.mark.parametrize("option", VALUES, ids=range(len(VALUES)))
def test_arguments(refused_fit, tmp_path, option):
    path = archive(tmp_path, x=IMAGES)
    data = ["--data=lit_gen.data.ArrayFile", "--data.image_shape=[1,8,8]", f"--data.path={path}"]
    assert VALUES[option] in refused_fit(*data, option)


def pictures(folder: Path, images=IMAGES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


def replaced(folder: Path, content: bytes, name: bytes = b"05.png") -> Path:
    pictures(folder)
    with open(os.path.join(os.fsencode(folder), name), "wb") as file:
        file.write(content)
    return folder


def cut_short(folder: Path) -> Path:
    file = pictures(folder) / "05.png"
    file.write_bytes(file.read_bytes()[:60])
    return folder


def deep(folder: Path) -> Path:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(pictures(folder) / "05.png")
    return folder


def linked(folder: Path, target: str) -> Path:
    (pictures(folder / "cat") / "more").symlink_to(target)
    return folder


def with_class(folder: Path, name: str, content: str | None) -> Path:
    """Pictures of cats, and a class's folder that holds none."""
    pictures(folder / "cat")
    (folder / name).mkdir()
    if content is not None:
        (folder / name / "notes.heic").write_text(content)
    return folder


FOLDERS = {
    "masks of 0 and 1": (
        lambda f: pictures(f, IMAGES // 128),
        "no value above 1, where 255 is white: say by",
    ),
    "16 bits": (deep, "05.png has more than 8 bits a channel (I;16)"),
    "cut short": (cut_short, "05.png cannot be read as an image"),
    "empty": (lambda f: replaced(f, b""), "05.png is empty (0 bytes)"),
    "no picture": (lambda f: replaced(f, b"hello"), "05.png cannot be read as an image: Pillow finds no picture in it"),
    "a name that isn't UTF-8": (lambda f: replaced(f, b"", b"\xff\xfe.png"), r"\xff\xfe.png is empty"),
    "a name of two lines": (lambda f: replaced(f, b"", b"one\ntwo.png"), "one two.png is empty"),
    "a link to nothing": (lambda f: linked(f, "nowhere"), "more is a link to nowhere, which is not there"),
    "a loop": (lambda f: linked(f, ".."), "more is a link back to"),
    "an empty class": (lambda f: with_class(f, "dog", None), "dog holds no image of a format that Pillow reads"),
    "a class of another format": (lambda f: with_class(f, "dog", "x"), "dog holds no image of a format"),
    "no folder": (lambda f: archive(f.parent, x=IMAGES), "is a file, not a folder of images; ArrayFile reads .npy"),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders(tmp_path, what):
    write, message = FOLDERS[what]
    assert message in refused(ImageFolder(str(write(tmp_path / "own")), (1, 8, 8)))


@pytest.mark.parametrize("what", ["masks of 0 and 1", "a name that isn't UTF-8", "a name of two lines", "a loop"])
def test_folders_on_the_command_line(refused_fit, tmp_path, what):
    write, message = FOLDERS[what]
    data = ["--data=lit_gen.data.ImageFolder", "--data.image_shape=[1,8,8]", f"--data.path={write(tmp_path / 'own')}"]
    assert message in refused_fit(*data)


def test_a_test_folder_of_other_classes(tmp_path):
    cats, dogs = (pictures(tmp_path / part / name).parent for part, name in (("a", "cat"), ("b", "dog")))
    data = ImageFolder(str(cats), (1, 8, 8), test_path=str(dogs))
    assert "has a class 'dog'; the classes are: cat" in refused(data)


def test_a_test_file_in_other_units(tmp_path):
    """0 to 255 to train on, 0 to 15 to test on."""
    np.save(tmp_path / "train.npy", IMAGES)
    np.save(tmp_path / "test.npy", IMAGES // 16)
    data = ArrayFile("train.npy", (1, 8, 8), test_path="test.npy", root=str(tmp_path))
    assert "test.npy holds no value above 15" in refused(data)


BACKGROUNDS = {"whit": "'whit' is no colour", "#ffffff": "None is no colour", "rgb(1,2": "'rgb(1,2' is no colour"}


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_backgrounds(refused_fit, tmp_path, background):
    data = [
        "--data=lit_gen.data.ImageFolder",
        "--data.image_shape=[1,8,8]",
        f"--data.path={pictures(tmp_path / 'own')}",
    ]
    assert BACKGROUNDS[background] in refused_fit(*data, f"--data.background={background}")


TRAIN, TEST, MANY, FEW = ("train-images", "train-labels"), ("t10k-images", "t10k-labels"), 60, 20


def idx(path: Path, array: np.ndarray) -> None:
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def digits(count: int) -> np.ndarray:
    return np.full((count, 28, 28), 200)


def mnist(root: Path, **changed: np.ndarray) -> Path:
    """MNIST's four files, of which some hold something else."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    arrays = {}
    for (images, labels), count in ((TRAIN, MANY), (TEST, FEW)):
        arrays[images], arrays[labels] = (
            np.tile(np.kron(IMAGES, np.ones((1, 4, 4)))[:count, :28, :28], 1),
            LABELS[:count],
        )
    arrays |= {name.replace("_", "-"): array for name, array in changed.items()}
    for name, array in arrays.items():
        idx(folder / f"{name}-idx{3 if 'images' in name else 1}-ubyte", array)
    return root


MNISTS = {
    "images for labels": ({"train_labels": digits(MANY)}, "shape [60, 28, 28] where [N] is expected: are the files of"),
    "labels for images": (
        {"train_images": LABELS},
        "shape [60] where [N, 28, 28] is expected: are the files of images",
    ),
    "training and test images swapped": (
        {"train_images": digits(FEW), "t10k_images": digits(MANY)},
        "holds 20 images, but train-labels-idx1-ubyte 60 labels: are the files of training and test swapped?",
    ),
    "training and test swapped": (
        {
            "train_images": digits(FEW),
            "train_labels": LABELS[:FEW],
            "t10k_images": digits(MANY),
            "t10k_labels": LABELS,
        },
        "has 20 images in train-images-idx3-ubyte and 60 in t10k-images-idx3-ubyte: are the files of training and",
    ),
    "another set's labels": ({"t10k_labels": LABELS[:FEW] + 40}, "holds the label 42, but the classes are 0 to 9"),
    "no images": ({"train_images": digits(0), "train_labels": LABELS[:0]}, "holds no images"),
    "masks of 0 and 1": (
        {"train_images": digits(MANY) // 200, "t10k_images": digits(FEW) // 200},
        "no value above 1, where 255 is white: multiply",
    ),
}


@pytest.mark.parametrize("what", MNISTS)
def test_files_of_mnist(tmp_path, what):
    changed, message = MNISTS[what]
    assert message in refused(MNIST(str(mnist(tmp_path, **changed)), download=False, num_validation=5))


def test_files_of_mnist_on_the_command_line(refused_fit, tmp_path):
    changed, message = MNISTS["images for labels"]
    data = ["--data=lit_gen.data.MNIST", f"--data.root={mnist(tmp_path / 'data', **changed)}", "--data.download=false"]
    assert message in refused_fit(*data, "--data.image_shape=[1,8,8]")


def test_frames_of_masks(refused_fit, tmp_path):
    images = np.kron(IMAGES[:3] // 128, np.ones((1, 4, 4), np.uint8))
    data = ["--data=lit_gen.data.ImageFrames", f"--data.path={pictures(tmp_path / 'own', images)}", "--data.side=32"]
    assert "no value above 1, where 255 is white: say by" in refused_fit(*data)


def test_data_that_were_refused_are_read_once_the_config_says_what_they_are(tmp_path):
    """Masks by their white, in an archive with other things, and a folder with a name that isn't UTF-8."""
    own = pictures(tmp_path / "own", IMAGES // 128)
    os.rename(own / "05.png", os.path.join(os.fsencode(own), b"\xff.png"))
    options = [f"--runs={tmp_path / 'runs'}", "--data.num_validation=5", "--data.batch_size=8", "--wandb=false"]
    short = ["--trainer.max_steps=1", "--trainer.callbacks=[]"]
    for kind, path in (
        ("ImageFolder", own),
        ("ArrayFile", with_member(tmp_path, "notes.txt", b"hello", x=IMAGES // 128)),
    ):
        data = [
            f"--data=lit_gen.data.{kind}",
            "--data.image_shape=[1,8,8]",
            f"--data.path={path}",
            "--data.max_value=1",
        ]
        assert main(["fit", "--config", "conf/vaes/vae_digits.yaml", *short, *data, *options]) == 0
    assert len(list((tmp_path / "runs").glob("*/*/summary.json"))) == 2
