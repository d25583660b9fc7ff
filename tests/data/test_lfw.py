"""LFW's folders: small stand-ins of the same layout, whose images say which they are."""

import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image

from lit_gen.data.lfw import LFW
from lit_gen.errors import UserError

NUM_PEOPLE, SIDE = 30, 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))


def write(folder, num_people: int = NUM_PEOPLE) -> None:
    """Person n has 1 + n mod 3 images: in the middle square of 24 the red is 8 n, the green 50 times its number."""
    for person in range(num_people):
        name = f"Person_{person:02}"
        (folder / name).mkdir(parents=True)
        for number in range(1 + person % 3):
            pixels = np.full((SIDE, SIDE, 3), 255, np.uint8)
            pixels[8:32, 8:32] = 8 * person, 50 * number, 0
            Image.fromarray(pixels).save(folder / name / f"{name}_{number + 1:04}.jpg", quality=100, subsampling=0)


def people(data, split) -> list[int]:
    batches = list(data.reference_loader(split))
    x, label = torch.cat([b.x for b in batches]), torch.cat([b.label for b in batches])
    assert torch.equal(x[:, 0].mean((1, 2)).mul(255 / 8).round().long(), label), "labels go with their images"
    return label.tolist()


def test_each_person_is_in_one_split_with_all_images(tmp_path):
    write(tmp_path / "lfw-deepfunneled")
    data = LFW(root=str(tmp_path), download=False, side=24, image_shape=(3, 12, 12), batch_size=4)
    splits = [people(data, split) for split in ("train", "val", "test")]
    assert [len(set(split)) for split in splits] == [24, 3, 3]
    assert sorted(person for split in splits for person in split) == [
        n for n in range(NUM_PEOPLE) for _ in range(1 + n % 3)
    ]
    assert data.num_classes == NUM_PEOPLE
    again = LFW(root=str(tmp_path), download=False, side=24, image_shape=(3, 12, 12), batch_size=4, split_seed=5)
    assert [people(again, split) for split in ("train", "val", "test")] == splits


@pytest.mark.parametrize("place", ["lfw_home/lfw_funneled", "lfw-py/lfw-deepfunneled", "lfw"])
def test_layouts_of_scikit_learn_torchvision_and_the_archives(tmp_path, place):
    write(tmp_path / place)
    if place.startswith("lfw_home"):
        (tmp_path / "lfw_home" / "pairs.txt").write_text("what scikit-learn puts beside it")
    data = LFW(root=str(tmp_path), download=False, side=24, image_shape=(1, 12, 12))
    assert sum(data.num_examples(split) for split in ("train", "val", "test")) == 60


def test_it_shows_what_scikit_learn_shows(tmp_path):
    write(tmp_path / "lfw_home" / "lfw_funneled")
    for name in ("pairs", "pairsDevTrain", "pairsDevTest"):
        (tmp_path / "lfw_home" / f"{name}.txt").touch()
    middle = (slice(8, 32), slice(8, 32))
    theirs = sklearn.datasets.fetch_lfw_people(
        data_home=str(tmp_path), resize=None, slice_=middle, color=True, download_if_missing=False
    )
    data = LFW(root=str(tmp_path), download=False, side=24, image_shape=(3, 24, 24))
    ours = torch.cat([b.x for split in ("train", "val", "test") for b in data.reference_loader(split)])
    key = lambda x: sorted(tuple(row) for row in x.mul(255).round().long().flatten(1).tolist())  # noqa: E731
    scale = 255 if theirs.images.max() > 1 else 1
    assert key(ours) == key(torch.from_numpy(theirs.images / scale).permute(0, 3, 1, 2))


def test_what_is_missing_or_damaged_is_named(tmp_path, monkeypatch):
    def refused(**arguments) -> str:
        with pytest.raises(UserError) as caught:
            LFW(root=str(tmp_path), side=24, image_shape=(3, 8, 8), **arguments).prepare_data()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def offline(data_home, **arguments):
        (tmp_path / "lfw_home").mkdir()
        raise OSError("the network\nis down")

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", offline)
    assert "has no LFW (download is off)" in refused(download=False)
    assert "has no LFW (the network is down): put one folder of images a person in" in refused()
    assert not (tmp_path / "lfw_home").exists()
    write(tmp_path / "lfw", num_people=2)
    assert "folders of 2 people" in refused()
    write(tmp_path / "lfw_funneled")
    image = tmp_path / "lfw_funneled" / "Person_07" / "Person_07_0002.jpg"
    image.write_bytes(image.read_bytes()[:400])
    assert "Person_07_0002.jpg cannot be read as an image" in refused()
    with pytest.raises(UserError, match="side must be at least 1"):
        LFW(side=0)


def test_scikit_learns_download_is_taken(tmp_path, monkeypatch):
    def fetch(data_home, **arguments):
        write(tmp_path / "lfw_home" / "lfw_funneled")
        raise ValueError("min_faces_per_person=500 is too restrictive")

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fetch)
    data = LFW(root=str(tmp_path), side=24, image_shape=(3, 8, 8))
    data.prepare_data()
    assert data.num_classes == NUM_PEOPLE
