"""What all tests share: no account, no cache of the machine's user, real data only where they are."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

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


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """Real data where LIT_GEN_DATA has them; elsewhere the bundled digits in each set's format, as a stand-in."""
    root = tmp_path_factory.mktemp("data")
    given = Path(os.environ.get("LIT_GEN_DATA") or root)
    for name in ("MNIST", "FashionMNIST", "olivetti"):
        if (given / name).is_dir():
            (root / name).symlink_to((given / name).resolve())
    digits = bundled_in_mnist_format
    for name, stand_in in (("MNIST", digits), ("FashionMNIST", digits), ("olivetti", bundled_as_faces)):
        if not (root / name).exists():
            print(f"LIT_GEN_DATA has no {name}: its place is taken by scikit-learn's digits in the same format")
            stand_in(root)
    return root
