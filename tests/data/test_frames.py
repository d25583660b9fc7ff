"""Frames of images whose pixels say where they are."""

import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.cli.main import main
from lit_gen.data.frames import ImageFrames, bundled_folder, frames_of, image_of
from lit_gen.errors import UserError


def places(height: int, width: int) -> np.ndarray:
    """Every pixel of another grey (up to 256 of them), in rows."""
    return np.arange(height * width).reshape(height, width).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name, image in (("a", places(12, 20)), ("b", 255 - places(9, 14)), ("c", 255 - places(8, 8) // 4)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    return tmp_path


def bytes_of(data, split: str) -> torch.Tensor:
    return torch.cat([b.x for b in data.reference_loader(split)]).mul(255).round().to(torch.uint8)


def make(folder, **options) -> ImageFrames:
    defaults = {"side": None, "image_shape": (1, 4, 4), "num_frames": 600, "num_validation": 100, "batch_size": 50}
    return ImageFrames(str(folder), **{**defaults, **options})


def test_training_frames_are_of_the_image_named(folder):
    data = make(folder, image="a.png")
    frames = torch.cat([bytes_of(data, "train"), bytes_of(data, "val")])[:, 0]
    assert frames.shape == (600, 4, 4) and data.num_examples("val") == 100
    first = frames[:, 0, 0].long()
    assert torch.equal(frames.long(), first.view(-1, 1, 1) + torch.from_numpy(places(4, 20)[:, :4].astype(int)))
    # Every place there is, 9 rows of 17, and each about as often as another (chi-square, 152 degrees of freedom).
    counts = first.bincount(minlength=240).view(12, 20)[:9, :17].double()
    assert int(counts.sum()) == 600
    assert float(((counts - 600 / 153) ** 2 / (600 / 153)).sum()) < 220


def test_test_frames_are_the_other_images_side_by_side(folder):
    data = make(folder, image="a.png")
    frames = bytes_of(data, "test")
    assert frames.shape == (2 * 3 + 4, 1, 4, 4)  # of 9 x 14, of 8 x 8
    b = 255 - places(9, 14)
    assert torch.equal(image_of(frames[:6], rows=2), torch.from_numpy(b[:8, :12]))
    assert torch.equal(frames[4, 0], torch.from_numpy(b[4:8, 4:8]))


def test_frames_put_together_are_the_image():
    image = torch.from_numpy(places(12, 20))
    assert torch.equal(image_of(frames_of(image, (4, 5)), rows=3), image)


def test_whole_images_come_with_their_part(folder):
    data = make(folder, image=["b.png", "c.png"])
    assert [(p.name, p.trained, tuple(p.pixels.shape)) for p in data.photographs] == [
        ("b", True, (9, 14)),
        ("c", True, (8, 8)),
        ("a", False, (12, 20)),
    ]
    train = {bytes(x.numpy()) for x in bytes_of(data, "train")}
    of_b = {
        bytes(frame.numpy())
        for frame in torch.from_numpy(255 - places(9, 14)).unfold(0, 4, 1).unfold(1, 4, 1).reshape(-1, 4, 4)
    }
    assert of_b & train and train - of_b  # both train


def test_the_seed_names_the_places(folder):
    first, again, other = (make(folder, frame_seed=seed).fingerprint("train") for seed in (0, 0, 1))
    assert first == again != other


def test_scikit_learns_photographs_are_there():
    data = ImageFrames(num_frames=500, num_validation=50, batch_size=50)
    assert [(p.name, p.trained) for p in data.photographs] == [("china", True), ("flower", False)]
    assert all(p.pixels.shape == (256, 256) for p in data.photographs)
    assert data.num_examples("test") == 1024
    # Cut about the centre: the square of 427 x 427 whose middle is the photograph's.
    with Image.open(bundled_folder() / "china.jpg") as image:
        square = image.convert("L").crop((106, 0, 533, 427))
    assert abs(np.asarray(square).mean() - data.photographs[0].pixels.double().mean()) < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "d.png"}, r"no image 'd.png': its first are a.png, b.png, c.png"),
        ({"image": []}, r"no image"),
        ({"image": ["a.png", "b.png", "c.png"]}, "none to test on"),
        ({"image_shape": (1, 10, 10)}, r"b.png is 9 x 14, smaller than a frame of 10 x 10"),
        ({"num_frames": 0}, "num_frames of at least 1"),
        ({"image_shape": (3, 4, 4)}, r"grey frames.*not \[3, 4, 4\]"),
        ({"side": 6, "image_shape": (1, 8, 8)}, "side 6 are smaller than a frame of 8 x 8"),
    ],
)
def test_what_cannot_be_cut_is_said(folder, options, message):
    with pytest.raises(UserError, match=message) as caught:
        make(folder, **options).setup()
    assert "\n" not in str(caught.value)


def test_small_images_and_empty_folders_on_the_command_line(folder, capsys):
    def refused(path, *options) -> str:
        data = ["--data=lit_gen.data.ImageFrames", f"--data.path={path}", "--data.num_frames=500", *options]
        data += ["--data.image_shape=[1,16,16]", "--data.num_validation=50"]
        run = ["--trainer.max_steps=1", "--wandb=false", f"--runs={folder / 'runs'}", "--trainer.callbacks=[]"]
        assert main(["fit", "--config", "conf/vaes/vae_digits.yaml", *data, *run]) == 2
        told = capsys.readouterr().err.strip()
        assert told.startswith("lit-gen: error: ") and "\n" not in told
        return told

    assert "smaller than a frame of 16 x 16" in refused(folder)
    (folder / "empty").mkdir()
    assert "holds no images" in refused(folder / "empty")
    assert "There is no" in refused(folder / "missing")
