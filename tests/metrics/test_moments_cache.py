import pytest
import torch

from lit_gen.metrics.fid import Moments
from lit_gen.metrics.moments_cache import moments_file, read_moments, write_moments


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def example() -> Moments:
    root = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Moments(root[0], root @ root.T, 17)


def test_what_was_kept_is_read(cache):
    file = moments_file("data", "extractor")
    assert read_moments(file, 4) is None
    write_moments(file, example())
    kept = read_moments(file, 4)
    assert file.is_relative_to(cache)
    assert torch.equal(kept.mean, example().mean)
    assert torch.equal(kept.covariance, example().covariance)
    assert kept.count == 17
    assert list(file.parent.iterdir()) == [file]


def test_data_and_extractor_name_the_file():
    names = {moments_file(*key).name for key in [("a", "b"), ("b", "a"), ("a", "c"), ("c", "b")]}
    assert len(names) == 4


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "not safetensors", "another size"])
def test_a_damaged_file_is_not_believed(damage):
    file = moments_file("data", "extractor")
    write_moments(file, example())
    content = file.read_bytes()
    num_features = 4
    if damage == "empty":
        file.write_bytes(b"")
    elif damage == "cut":
        file.write_bytes(content[:-9])
    elif damage == "flipped":
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif damage == "not safetensors":
        file.write_bytes(b"moments" * 100)
    else:
        num_features = 5
    with pytest.warns(UserWarning, match="computed anew"):
        assert read_moments(file, num_features) is None


def test_a_folder_that_cannot_be_written_to_is_a_warning(cache):
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="couldn't be kept"):
        write_moments(moments_file("data", "extractor"), example())
