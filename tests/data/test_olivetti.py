"""The faces and their cuts: a stand-in of the file's format, whose faces say which they are and where."""

import math

import joblib
import numpy as np
import pytest
import torch

from lit_gen.data.olivetti import FaceCuts, Olivetti, cut
from lit_gen.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Face k is of one grey, k // 2."""
    (tmp_path / "olivetti").mkdir()
    faces = np.repeat(np.arange(400) // 2, 64 * 64).reshape(400, 64, 64).astype(np.uint8)
    np.save(tmp_path / "olivetti" / "olivetti_400x64x64.npy", faces)
    return str(tmp_path)


def greys(data, split) -> torch.Tensor:
    return torch.cat([b.x for b in data.reference_loader(split)])[:, 0, 3, 3].mul(255).round().long()


def test_people_are_in_one_split_each(root):
    data = Olivetti(root=root, batch_size=50)
    people = {
        split: torch.cat([b.label for b in data.reference_loader(split)]).tolist() for split in ("train", "val", "test")
    }
    assert people["train"] == [k // 10 for k in range(250)]
    assert people["val"] == 10 * [25, 26, 27, 28, 29]  # pictures show the first few
    assert people["test"] == [k // 10 for k in range(300, 400)]
    assert greys(data, "test").tolist() == [k // 2 for k in range(300, 400)]
    assert data.num_classes == 40 and data.image_shape == (1, 64, 64)


def test_scikit_learns_copy_gives_the_same_bytes(tmp_path):
    # What its downloader leaves behind: bytes 0 to 242 as columns of floats in [0, 1], each face transposed.
    original = np.random.default_rng(0).integers(0, 243, (400, 64, 64))
    original[0, 0, :2] = 0, 242
    (tmp_path / "olivetti").mkdir()
    left = original.transpose(0, 2, 1).reshape(400, 4096) / 242
    joblib.dump(left, tmp_path / "olivetti" / "olivetti_py3.pkz", compress=6)
    data = Olivetti(root=str(tmp_path), download=False, batch_size=50)
    x = torch.cat([b.x for b in data.reference_loader("test")])
    assert torch.equal(x.mul(255).round().long()[:, 0], torch.from_numpy(original[300:]).long())


def test_missing_and_other_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"olivetti_400x64x64.npy.*download is off.*LIT_GEN_DATA") as caught:
        Olivetti(root=str(tmp_path), download=False).prepare_data()
    assert "\n" not in str(caught.value) and not (tmp_path / "olivetti").exists()
    (tmp_path / "olivetti").mkdir()
    np.save(tmp_path / "olivetti" / "olivetti_400x64x64.npy", np.zeros((400, 64, 32), np.uint8))
    with pytest.raises(UserError, match=r"\[400, 64, 64\]"):
        FaceCuts(root=str(tmp_path)).setup()
    (tmp_path / "olivetti" / "olivetti_400x64x64.npy").unlink()
    (tmp_path / "olivetti" / "olivetti_py3.pkz").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"scikit-learn's olivetti_py3.pkz"):
        FaceCuts(root=str(tmp_path)).setup()
    with pytest.raises(UserError, match="num_cuts of at least 1, got 0"):
        FaceCuts(num_cuts=0)


def test_cuts_are_counted_and_labelled_by_person(root):
    data = FaceCuts(num_cuts=3, root=root, batch_size=50)
    assert [data.num_examples(s) for s in ("train", "val", "test")] == [750, 150, 300]
    assert greys(data, "train").tolist() == [k // 3 // 2 for k in range(750)]
    assert greys(data, "val").tolist() == [(750 + 30 * person + k) // 3 // 2 for k in range(30) for person in range(5)]
    label = torch.cat([b.label for b in data.reference_loader("test")])
    assert label.tolist() == [k // 30 for k in range(900, 1200)] and data.event_shape == (1, 25, 25)


def test_the_papers_counts():
    # 165,600 images of 40 people; the arithmetic alone, for the cutting takes seconds.
    data = FaceCuts()
    assert (data.num_validation, 250 * data.num_cuts, 100 * data.num_cuts) == (20_700, 103_500, 41_400)


def test_cuts_depend_on_the_seed_and_nothing_else(tmp_path):
    (tmp_path / "olivetti").mkdir()
    faces = np.random.default_rng(0).integers(0, 243, (400, 64, 64), dtype=np.uint8)
    np.save(tmp_path / "olivetti" / "olivetti_400x64x64.npy", faces)
    few, many, other = (
        FaceCuts(num_cuts=count, cut_seed=seed, root=str(tmp_path)) for count, seed in ((2, 0), (5, 0), (2, 1))
    )
    x = {data: torch.cat([b.x for b in data.reference_loader("test")]) for data in (few, many, other)}
    assert torch.equal(x[few][:2], x[many][:2]) and torch.equal(x[few][2:4], x[many][5:7])
    assert not torch.equal(x[few], x[other])
    assert few.fingerprint("train") == FaceCuts(num_cuts=2, root=str(tmp_path)).fingerprint("train")


def test_angles_and_scales_are_uniform_over_the_papers_ranges(root, monkeypatch):
    drawn = []

    def spy(face, angle, scale, size):
        drawn.append((angle, scale))
        return torch.zeros(len(angle), 1, *size, dtype=torch.uint8)

    monkeypatch.setattr("lit_gen.data.olivetti.cut", spy)
    FaceCuts(num_cuts=20, root=root)._cut(torch.zeros(400, 64, 64, dtype=torch.uint8))
    angle, scale = (torch.cat(part) for part in zip(*drawn, strict=True))
    for values, low, high in [(angle.rad2deg(), -90, 90), (scale, 1.4, 1.8)]:
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / (12 * len(values)) ** 0.5


def test_the_cache_gives_what_was_cut(root, tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))
    first = FaceCuts(num_cuts=2, root=root).fingerprint("train")
    (file,) = (tmp_path / "cache").rglob("*.npy")
    with monkeypatch.context() as patch:
        patch.setattr(FaceCuts, "_cut", None)
        assert FaceCuts(num_cuts=2, root=root).fingerprint("train") == first
    file.write_bytes(file.read_bytes()[:500])
    assert FaceCuts(num_cuts=2, root=root).fingerprint("train") == first
    monkeypatch.setenv("LIT_GEN_CACHE", "/proc/nowhere")
    assert FaceCuts(num_cuts=2, root=root).fingerprint("train") == first


def test_a_cut_shows_the_square_it_should():
    # A plane: grey 2 * column + row. Its value at a pixel's centre tells where that pixel was taken from.
    row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    face = (2 * column + row).to(torch.uint8)
    scale = torch.tensor([1.4, 1.4, 1.8, 1.6])
    angle = torch.tensor([0.0, math.pi / 2, 0.0, -math.pi / 4])
    cuts = cut(face, angle, scale)[:, 0].double()
    step = torch.arange(25.0) - 12
    for number in range(4):
        down, right = torch.meshgrid(step * scale[number], step * scale[number], indexing="ij")
        cos, sin = math.cos(angle[number]), math.sin(angle[number])
        expected = 2 * (31.5 + cos * right - sin * down) + (31.5 + sin * right + cos * down)
        assert (cuts[number] - expected).abs().max() <= 0.5 + 1e-3  # rounded to a byte


def test_no_cut_leaves_the_face():
    # At 1.8 the square's diagonal is 63.6 of the face's 64 pixels: a border of another grey is never seen.
    face = torch.zeros(66, 66, dtype=torch.uint8)
    face[1:-1, 1:-1] = 200
    cuts = cut(face, torch.linspace(-math.pi / 2, math.pi / 2, 181), torch.full((181,), 1.8))
    assert int(cuts.min()) == 200


def test_subsampling_averages():
    # Stripes one pixel wide, sampled every 1.8 pixels, would alias into wide stripes of full contrast.
    face = (torch.arange(64) % 2 * 255).to(torch.uint8).expand(64, 64)
    cuts = cut(face, torch.zeros(1), torch.full((1,), 1.8)).float()
    assert float(cuts.std()) < 0.6 * float(face.float().std())
