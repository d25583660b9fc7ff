"""Frey's face: a stand-in of the file's format, whose frames say which they are."""

import numpy as np
import pytest
import torch
from scipy.io import savemat

from lit_gen.data.frey_faces import FreyFaces
from lit_gen.errors import UserError

SIZE = (1965, 28, 20)


def frames() -> np.ndarray:
    """Frame n holds n in its first two pixels, in two digits to base 250, and its rows and columns further down."""
    film = np.zeros(SIZE, np.uint8)
    film[:, 0, 0], film[:, 0, 1] = np.arange(len(film)) // 250, np.arange(len(film)) % 250
    film[:, 1:, 3], film[:, 5, 1:] = np.arange(1, 28), np.arange(100, 119)
    return film


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "freyfaces").mkdir()
    np.save(tmp_path / "freyfaces" / "freyfaces_1965x28x20.npy", frames())
    return tmp_path / "freyfaces"


def numbers(data, split) -> list[int]:
    x = torch.cat([b.x for b in data.reference_loader(split)]).mul(255).round().long()
    return (250 * x[:, 0, 0, 0] + x[:, 0, 0, 1]).tolist()


def test_splits_are_stretches_of_time(folder):
    data = FreyFaces(root=str(folder.parent))
    train, val, test = (numbers(data, split) for split in ("train", "val", "test"))
    assert [len(train), len(val), len(test)] == [1565, 200, 200]
    assert sorted(train + val + test) == list(range(1965))
    assert test == [393 * part + 353 + n for part in range(5) for n in range(40)]
    assert sorted(val) == [n - 40 for n in test]
    near = [n for n in test if n - 1 in train or n + 1 in train]
    assert len(near) == 4, "a test frame beside a training one only where the next part begins"
    assert data.num_classes is None and data.image_shape == (1, 28, 20)


def test_pictures_show_frames_of_each_part(folder):
    first = numbers(FreyFaces(root=str(folder.parent)), "val")[:5]
    assert [n // 393 for n in first] == [0, 1, 2, 3, 4]


def test_the_published_file_gives_the_same_frames(folder):
    expected = FreyFaces(root=str(folder.parent)).fingerprint("test")
    (folder / "freyfaces_1965x28x20.npy").unlink()
    savemat(folder / "frey_rawface.mat", {"ff": frames().reshape(1965, 560).T})
    data = FreyFaces(root=str(folder.parent))
    assert data.fingerprint("test") == expected
    x = next(iter(data.test_dataloader())).x.mul(255).round()
    assert torch.equal(x[0, 0, 1:, 3], torch.tensor([*range(1, 5), 102, *range(6, 28)]).float())


def test_missing_damaged_and_other_files_are_named(folder):
    file, matlab = folder / "freyfaces_1965x28x20.npy", folder / "frey_rawface.mat"

    def refused() -> str:
        with pytest.raises(UserError) as caught:
            FreyFaces(root=str(folder.parent)).setup()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
        return str(caught.value)

    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    assert "cut short" in refused()
    np.save(file, frames()[:, :20])
    assert "1965 uint8 frames of 28 x 20" in refused()
    file.unlink()
    assert "neither freyfaces_1965x28x20.npy nor frey_rawface.mat" in refused()
    savemat(matlab, {"other": np.zeros((560, 1965), np.uint8)})
    assert "matrix ff" in refused()
    savemat(matlab, {"ff": np.zeros((560, 100), np.uint8)})
    assert "1965 uint8 frames" in refused()
    matlab.write_bytes(matlab.read_bytes()[:200])
    assert "frey_rawface.mat cannot be read" in refused()
    with pytest.raises(TypeError):
        FreyFaces(num_validation=3)  # the stretches say how many
