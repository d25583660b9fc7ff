"""The CIFAR-10 reader, on small files of the real format."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
import torchvision

from lit_gen.data.cifar10 import CIFAR10
from lit_gen.errors import UserError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Four images a file: red is the image's number, green the row, blue the column. torchvision gets the checksums."""
    source = torchvision.datasets.CIFAR10
    folder = tmp_path / source.base_folder
    folder.mkdir()

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(first: int) -> dict:
        number = np.arange(first, first + 4).reshape(-1, 1, 1) * np.ones((1, 32, 32))
        row, column = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
        data = np.stack([number, row + 0 * number, column + 0 * number], axis=1).astype(np.uint8)
        return {"data": data.reshape(4, -1), "labels": [k % 10 for k in range(first, first + 4)]}

    monkeypatch.setattr(source, "train_list", [write(f"data_batch_{k + 1}", batch(4 * k)) for k in range(5)])
    monkeypatch.setattr(source, "test_list", [write("test_batch", batch(100))])
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(source, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    monkeypatch.setattr(source, "url", "http://127.0.0.1:9/cifar.tar.gz")
    return tmp_path


def test_channels_rows_and_columns_are_in_their_places(root):
    data = CIFAR10(root=str(root), num_validation=4, batch_size=4)
    batch = next(iter(data.test_dataloader()))
    assert batch.x.shape == (4, 3, 32, 32)
    pixel = (batch.x * 255).round()[:, :, 5, 9]
    assert torch.equal(pixel, torch.tensor([[100.0 + k, 5, 9] for k in range(4)]))
    assert batch.label.tolist() == [0, 1, 2, 3] and data.num_classes == 10
    assert [data.num_examples(s) for s in ("train", "val", "test")] == [16, 4, 4]


def test_missing_and_damaged_files_are_named(root):
    folder = root / "cifar-10-batches-py"
    (folder / "data_batch_2").unlink()
    (folder / "test_batch").write_bytes(b"not what the checksum says")
    with pytest.raises(UserError, match=r"data_batch_2, test_batch \(download is off\)"):
        CIFAR10(root=str(root), download=False).prepare_data()
    with pytest.raises(UserError, match=r"data_batch_2, test_batch \(the download failed.*LIT_GEN_DATA"):
        CIFAR10(root=str(root)).setup()
