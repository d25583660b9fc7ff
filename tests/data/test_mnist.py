"""The MNIST readers, on small files of the real format."""

import struct

import pytest
import torch

from lit_gen.data.mnist import MNIST, FashionMNIST
from lit_gen.errors import UserError


def write_idx(path, array: torch.Tensor) -> None:
    path.write_bytes(
        struct.pack(f">BBBB{array.dim()}i", 0, 0, 8, array.dim(), *array.shape) + bytes(array.flatten().tolist())
    )


@pytest.fixture(params=[MNIST, FashionMNIST])
def kind(request, tmp_path):
    """The class, with its four files under tmp_path: 20 + 6 images whose every pixel is 10 times their number."""
    folder = tmp_path / request.param.__name__ / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 6)):
        images = torch.arange(count, dtype=torch.uint8).mul(10).view(-1, 1, 1).expand(count, 28, 28)
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", torch.arange(count) % 10)
    return request.param


def make(kind, root, **kwargs):
    return kind(root=str(root), **{"num_validation": 5, "batch_size": 5, "download": False, **kwargs})


def test_images_and_labels_are_read_in_order(kind, tmp_path):
    data = make(kind, tmp_path)
    batch = next(iter(data.test_dataloader()))
    assert batch.x.shape == (6, 1, 28, 28)
    assert torch.equal(batch.x[:, 0, 3, 4], torch.arange(6) * 10 / 255)
    assert batch.label.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.num_classes == 10
    assert [data.num_examples(s) for s in ("train", "val", "test")] == [15, 5, 6]
    for train in data.train_dataloader():
        assert torch.equal((train.x[:, 0, 0, 0] * 25.5).round() % 10, train.label)


def test_the_root_comes_from_the_environment(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_DATA", str(tmp_path))
    assert kind(num_validation=5).num_examples("test") == 6
    monkeypatch.delenv("LIT_GEN_DATA")
    assert kind().root.name == "data"


def test_other_sizes_are_resized(kind, tmp_path):
    batch = next(iter(make(kind, tmp_path, image_shape=(1, 32, 32)).test_dataloader()))
    assert batch.x.shape == (6, 1, 32, 32)
    assert torch.equal(batch.x[:, 0, 31, 31], torch.arange(6) * 10 / 255)
    with pytest.raises(UserError, match="asks for 3 channels"):
        make(kind, tmp_path, image_shape=(3, 28, 28)).setup()


def test_damaged_files_are_named(kind, tmp_path):
    file = tmp_path / kind.__name__ / "raw" / "t10k-images-idx3-ubyte"
    whole = file.read_bytes()
    for damaged, message in (
        (b"", "0 bytes"),
        (whole[:10], "10 bytes"),
        (whole[:-1], f"{len(whole) - 1} bytes where its header says {len(whole)}"),
        (b"<html>not found</html>", "not an idx file"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=message) as caught:
            make(kind, tmp_path).setup()
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_labels_must_be_as_many_as_images(kind, tmp_path):
    write_idx(tmp_path / kind.__name__ / "raw" / "train-labels-idx1-ubyte", torch.arange(19) % 10)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte holds 20 images, but .* 19 labels"):
        make(kind, tmp_path).setup()


def test_missing_files_are_named_with_what_to_do(kind, tmp_path, monkeypatch):
    (tmp_path / kind.__name__ / "raw" / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match=r"raw lacks train-labels-idx1-ubyte \(download is off\).*LIT_GEN_DATA"):
        make(kind, tmp_path).prepare_data()
    # Nobody listens on port 9 of this machine: a network that is down.
    monkeypatch.setattr(kind()._source, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(UserError, match=r"the download failed: Error downloading .*http://127.0.0.1:9/") as caught:
        make(kind, tmp_path, download=True).prepare_data()
    assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the download failed"):
        make(kind, tmp_path / "file", download=True).prepare_data()
