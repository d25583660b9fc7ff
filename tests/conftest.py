"""What all tests share: no account, no cache of the machine's user, real data only where they are."""

import codecs
import hashlib
import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch

os.environ.setdefault("WANDB_MODE", "disabled")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests neither read nor write the user's cache of reference moments and pictures."""
    previous = os.environ.get("LIT_GEN_CACHE")
    os.environ["LIT_GEN_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if previous is None:
        del os.environ["LIT_GEN_CACHE"]
    else:
        os.environ["LIT_GEN_CACHE"] = previous


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write uint8 values in MNIST's file format."""
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def bundled_in_mnist_format(root: Path) -> Path:
    """scikit-learn's digits, enlarged to 28x28 and repeated, where torchvision looks for (Fashion)MNIST."""
    digits = load_digits()
    images = np.kron(digits.images * (255 / 16), np.ones((1, 3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).round().astype(np.uint8)
    repeats = 4  # configs hold out 5,000 validation images
    for name in ("MNIST", "FashionMNIST"):
        raw = root / name / "raw"
        if raw.is_dir():
            continue
        raw.mkdir(parents=True)
        for split, times in (("train", repeats), ("t10k", 1)):
            write_idx(raw / f"{split}-images-idx3-ubyte", np.tile(images, (times, 1, 1)))
            write_idx(raw / f"{split}-labels-idx1-ubyte", np.tile(digits.target, times))
    return root


def bundled_as_faces(root: Path) -> Path:
    """scikit-learn's digits, enlarged to 64x64, where the Olivetti faces are looked for: ten "people" four times."""
    digits = load_digits()
    faces = [np.flatnonzero(digits.target == person % 10)[person // 10 * 10 :][:10] for person in range(40)]
    images = np.kron(digits.images[np.concatenate(faces)] * (255 / 16), np.ones((1, 8, 8))).round().astype(np.uint8)
    (root / "olivetti").mkdir(parents=True)
    np.save(root / "olivetti" / "olivetti_400x64x64.npy", images)
    return root


def random_posts(root: Path) -> Path:
    """Posts of random words where scikit-learn keeps 20 newsgroups, each group with words that it favours."""
    generator = np.random.default_rng(0)
    words = np.array(["".join(generator.choice(list("abcdefghijklmnop"), 6)) for _ in range(2500)])
    groups = [f"group.{number:02}" for number in range(20)]
    parts = {}
    for name, count in (("train", 1600), ("test", 400)):
        target = np.arange(count) % 20
        chosen = (generator.geometric(0.01, (count, 60)) + 100 * target[:, None]) % len(words)
        chosen[:, ::4] = generator.integers(0, len(words), chosen[:, ::4].shape)
        texts = ["Subject: words\n\n" + " ".join(post) for post in words[chosen]]
        parts[name] = Bunch(data=texts, target=target, target_names=groups, filenames=np.array(texts))
    (root / "20newsgroups").mkdir(parents=True)
    packed = codecs.encode(pickle.dumps(parts), "zlib_codec")
    (root / "20newsgroups" / "20news-bydate_py3.pkz").write_bytes(packed)
    return root


def random_stories(root: Path) -> Path:
    """Weights of random words where scikit-learn keeps RCV1: by its formula, of stories of one of its four roots."""
    generator = np.random.default_rng(0)
    count, num_words, num_weighed = 26_000, 2_500, 23_149
    root_of = np.arange(count) % 4
    rows = np.repeat(np.arange(count), 12)
    columns = (generator.geometric(0.005, (count, 12)) + 500 * root_of[:, None]).ravel() % num_words
    counts = csr_matrix((np.ones(len(rows)), (rows, columns)), (count, num_words))
    counts.sum_duplicates()
    rarity = np.log(num_weighed / np.maximum(np.bincount(counts[:num_weighed].indices, minlength=num_words), 1))
    weights = counts.copy()
    weights.data = (1 + np.log(counts.data)) * rarity[counts.indices]
    folder = root / "RCV1"
    folder.mkdir(parents=True)
    for name, value in {
        "samples": normalize(weights),
        "sample_id": np.arange(count),
        "sample_topics": csr_matrix(np.eye(4, dtype=np.uint8)[root_of]),
        "topics_names": np.array(["CCAT", "ECAT", "GCAT", "MCAT"], dtype=object),
    }.items():
        joblib.dump(value, folder / f"{name}_py3.pkl")
    return root


def enlarged_digits(count: int, height: int, width: int) -> np.ndarray:
    """(count, height, width) uint8: scikit-learn's digits, enlarged by whole numbers, on black."""
    images = load_digits().images[np.arange(count) % 1797] * (255 / 16)
    images = np.kron(images, np.ones((1, height // 8, width // 8))).round().astype(np.uint8)
    return np.pad(images, ((0, 0), (0, height % 8), (0, width % 8)))


def bundled_as_film(root: Path) -> None:
    """Digits where the frames of Frey's face are looked for."""
    (root / "freyfaces").mkdir(parents=True)
    np.save(root / "freyfaces" / "freyfaces_1965x28x20.npy", enlarged_digits(1965, 28, 20))


def bundled_as_people(root: Path) -> None:
    """Digits as JPEG files, four of each of 45 "people", where LFW is looked for."""
    for number, image in enumerate(enlarged_digits(180, 136, 136)):
        folder = root / "lfw-deepfunneled" / f"Person_{number // 4:02}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).convert("RGB").save(folder / f"{number % 4}.jpg")


def bundled_as_celebrities(root: Path) -> None:
    """Digits as JPEG files with CelebA's list of splits."""
    images = root / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    lines = []
    for number, image in enumerate(enlarged_digits(180, 218, 178)):
        lines.append(f"{number + 1:06}.jpg {0 if number < 140 else 1 + number % 2}")
        Image.fromarray(image).convert("RGB").save(images / lines[-1].split()[0])
    (root / "celeba" / "list_eval_partition.txt").write_text("\n".join(lines))


class Photographs(NamedTuple):
    """Images (N, 32, 32, 3), uint8, and their labels (N,)."""

    x: np.ndarray
    label: np.ndarray


@pytest.fixture(scope="session")
def photographs() -> Photographs:
    """CIFAR-10's first 4,000 images, without loss, where LIT_GEN_DATA has them; elsewhere as many enlarged digits."""
    file = Path(os.environ.get("LIT_GEN_DATA") or "") / "cifar10" / "cifar10_train_first4000.npz"
    if file.is_file():
        with np.load(file) as content:
            return Photographs(content["x"], content["y"])
    print(f"LIT_GEN_DATA has no cifar10/{file.name}: its place is taken by scikit-learn's digits")
    digits = enlarged_digits(4000, 32, 32)
    return Photographs(np.repeat(digits[..., None], 3, 3), load_digits().target[np.arange(4000) % 1797])


def write_cifar10(root: Path, patch: pytest.MonkeyPatch, train: Photographs, test: Photographs) -> None:
    """Write CIFAR-10's files, a fifth of ``train`` in each of five; ``patch`` gives torchvision their checksums."""
    import torchvision

    source = torchvision.datasets.CIFAR10
    folder = root / source.base_folder
    folder.mkdir(parents=True)

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(x: np.ndarray, label: np.ndarray) -> dict:
        return {"data": x.transpose(0, 3, 1, 2).reshape(len(x), -1), "labels": label.tolist()}

    fifths = enumerate(zip(*(np.array_split(part, 5) for part in train), strict=True))
    patch.setattr(source, "train_list", [write(f"data_batch_{k + 1}", batch(*fifth)) for k, fifth in fifths])
    patch.setattr(source, "test_list", [write("test_batch", batch(*test))])
    meta = write(source.meta["filename"], {"label_names": list("0123456789")})
    patch.setattr(source, "meta", {**source.meta, "md5": meta[1]})


def split(photographs: Photographs) -> tuple[Photographs, Photographs]:
    """All but the last 400, and these."""
    return tuple(Photographs(*(part[of] for part in photographs)) for of in (slice(-400), slice(-400, None)))


@pytest.fixture
def cifar10_root(tmp_path, monkeypatch, photographs) -> Path:
    """The photographs in CIFAR-10's files, the last 400 as its test images."""
    write_cifar10(tmp_path, monkeypatch, *split(photographs))
    return tmp_path


@pytest.fixture(scope="session")
def data_root(tmp_path_factory, photographs) -> Iterator[Path]:
    """Real data where LIT_GEN_DATA has them; elsewhere the bundled digits in each set's format, as a stand-in."""
    root = tmp_path_factory.mktemp("data")
    given = Path(os.environ.get("LIT_GEN_DATA") or root)
    cifar10 = "cifar-10-batches-py"
    pictures = ("MNIST", "FashionMNIST", "olivetti", "freyfaces", "lfw-deepfunneled", "celeba", cifar10)
    for name in (*pictures, "20newsgroups", "RCV1"):
        if any(path.is_file() for path in (given / name).rglob("*")):  # a failed download leaves empty folders
            (root / name).symlink_to((given / name).resolve())
    digits, film = bundled_in_mnist_format, bundled_as_film
    stand_ins = (digits, digits, bundled_as_faces, film, bundled_as_people, bundled_as_celebrities)
    for name, stand_in in zip(pictures, stand_ins, strict=False):
        if not (root / name).exists():
            print(f"LIT_GEN_DATA has no {name}: its place is taken by scikit-learn's digits in the same format")
            stand_in(root)
    for name, stand_in in (("20newsgroups", random_posts), ("RCV1", random_stories)):
        if not (root / name).exists():
            print(f"LIT_GEN_DATA has no {name}: its place is taken by random words in the same format")
            stand_in(root)
    with pytest.MonkeyPatch.context() as patch:
        if not (root / cifar10).exists():
            print(f"LIT_GEN_DATA has no {cifar10}: its place is taken by fewer images, repeated, in the same format")
            train, test = split(photographs)
            twice = Photographs(*(np.concatenate([part, part]) for part in train))  # configs hold out 5,000
            write_cifar10(root, patch, twice, test)
        yield root
