"""What ``lit-gen sample`` writes is what was drawn, whole or not at all."""

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from lit_gen.callbacks.pictures import picture_of
from lit_gen.cli.main import main
from lit_gen.cli.sample_output import ARRAYS, output_of, write_samples
from lit_gen.data.image_folder import ImageFolder
from lit_gen.errors import UserError

SHORT = ["--trainer.max_steps=20", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]


def write(out: Path | str, samples: torch.Tensor, scale: int | None = None, overwrite: bool = False) -> None:
    write_samples(output_of(str(out), scale, overwrite), samples.split(7), len(samples), picture_of)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_holds_the_samples_pixels_and_is_read_back(tmp_path, channels):
    """Every level of 256 is its own: nothing is framed, enlarged, or rounded twice."""
    levels = torch.randint(256, (20, channels, 6, 5), generator=torch.Generator().manual_seed(0))
    samples = levels.float() / 255
    write(tmp_path / "folder", samples)
    assert names(tmp_path / "folder") == [f"{number:06d}.png" for number in range(20)]
    for number in range(20):
        with Image.open(tmp_path / "folder" / f"{number:06d}.png") as image:
            assert image.mode == ("L" if channels == 1 else "RGB") and image.size == (5, 6)
            pixels = np.asarray(image).reshape(6, 5, channels).transpose(2, 0, 1)
        assert (pixels == levels[number].numpy()).all()
    data = ImageFolder(path=tmp_path / "folder", image_shape=(channels, 6, 5), num_validation=2, test_fraction=0.2)
    read = torch.cat([batch.x for split in ("train", "val", "test") for batch in data.reference_loader(split)])
    assert sorted(read.flatten(1).tolist()) == sorted(samples.flatten(1).tolist())


def test_scale_makes_each_pixel_a_square(tmp_path):
    samples = torch.rand(3, 3, 4, 2)
    write(tmp_path / "own", samples)
    write(tmp_path / "large", samples, scale=3)
    for name in names(tmp_path / "own"):
        own, large = (np.asarray(Image.open(tmp_path / folder / name)) for folder in ("own", "large"))
        assert large.shape == (12, 6, 3) and (large == own.repeat(3, 0).repeat(3, 1)).all()


def test_numbers_have_enough_digits(tmp_path):
    parts = (torch.zeros(1, 1, 1, 1) for _ in range(2))
    write_samples(output_of(str(tmp_path / "folder"), None, False), parts, 10_000_000, picture_of)
    assert names(tmp_path / "folder") == ["0000000.png", "0000001.png"]


def test_an_npz_written_part_by_part_is_numpys_own(tmp_path):
    samples = torch.rand(20, 3, 4, 2)
    write(tmp_path / "parts.npz", samples)
    np.savez_compressed(tmp_path / "whole.npz", samples=samples.numpy())
    with np.load(tmp_path / "parts.npz") as parts, np.load(tmp_path / "whole.npz") as whole:
        assert list(parts) == list(whole) == ["samples"]
        assert parts["samples"].dtype == np.float32
        np.testing.assert_array_equal(parts["samples"], whole["samples"])


def test_fewer_samples_leave_none_of_the_old_ones(tmp_path):
    folder = tmp_path / "folder"
    write(folder, torch.rand(9, 1, 4, 4))
    (folder / "notes.txt").write_text("mine")
    (folder / "1.png").write_text("mine too")
    with pytest.raises(UserError, match=r"isn't empty, it holds 000000.png, 000001.png and 9 more.*--overwrite"):
        write(folder, torch.rand(2, 1, 4, 4))
    assert len(names(folder)) == 11
    new = torch.rand(2, 1, 4, 4)
    write(folder, new, overwrite=True)
    assert names(folder) == ["000000.png", "000001.png", "1.png", "notes.txt"]
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "1.png").read_text() == "mine too"
    pixels = np.asarray(Image.open(folder / "000001.png"))
    assert (pixels == (new[1, 0] * 255).round().numpy()).all()


@pytest.mark.parametrize("there", ["empty", "suffix", "slash"])
def test_which_names_are_folders(tmp_path, there):
    folder = tmp_path / ("v1.0" if there != "empty" else "folder")
    if there != "slash":
        folder.mkdir()
    write(f"{folder}/" if there == "slash" else folder, torch.rand(2, 1, 4, 4))
    assert names(folder) == ["000000.png", "000001.png"]
    assert names(tmp_path) == [folder.name]


OUTS = ["samples.npz", "grid.png", "folder"]


def old_one(out: Path, samples: torch.Tensor) -> dict[str, bytes]:
    write(out, samples)
    return everything(out.parent)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("out", OUTS)
def test_a_disk_that_fills_up_midway_leaves_what_was_there(tmp_path, out):
    """The system itself refuses: no file of this process may grow beyond a few hundred bytes."""
    before = old_one(tmp_path / out, torch.zeros(3, 1, 4, 4))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        with pytest.raises(UserError, match=f"cannot write .*{out}: File too large"):
            write(tmp_path / out, torch.rand(30, 1, 32, 32), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("out", OUTS)
def test_no_space_after_some_files_leaves_what_was_there(tmp_path, out, monkeypatch):
    before = old_one(tmp_path / out, torch.zeros(3, 1, 4, 4))
    saved = []

    def full(*arguments, **options):
        saved.append(arguments)
        if len(saved) > (20 if out == "folder" else 0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(*arguments, **options)

    save = PngImagePlugin._save
    monkeypatch.setitem(Image.SAVE, "PNG", full)
    if out.endswith(ARRAYS):
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=f"cannot write .*{out}: No space left on device"):
        write(tmp_path / out, torch.rand(30, 1, 4, 4), overwrite=True)
    assert everything(tmp_path) == before and saved


@pytest.mark.parametrize("out", OUTS)
def test_an_interrupt_leaves_what_was_there(tmp_path, out):
    before = old_one(tmp_path / out, torch.zeros(3, 1, 4, 4))

    def parts():
        yield torch.rand(5, 1, 4, 4)
        raise KeyboardInterrupt

    for place in (tmp_path / out, tmp_path / f"new{Path(out).suffix}"):
        with pytest.raises(KeyboardInterrupt):
            write_samples(output_of(str(place), None, True), parts(), 10, picture_of)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("out", OUTS[1:])
@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_values_that_are_no_pixels_are_refused_wherever_they_come(tmp_path, out, bad):
    before = old_one(tmp_path / out, torch.zeros(3, 1, 4, 4))
    samples = torch.rand(20, 1, 4, 4)
    samples[18, 0, 1, 1] = bad
    with pytest.raises(UserError, match=r"outside \[0, 1\]"):
        write(tmp_path / out, samples, overwrite=True)
    assert everything(tmp_path) == before


def test_only_a_batch_is_in_memory(tmp_path):
    """Of a folder and an .npz: a batch is let go of before the next but one is drawn."""
    import weakref

    for out in ("folder", "samples.npz"):
        alive: list[weakref.ref] = []

        def parts(alive=alive):
            for _ in range(6):
                assert sum(part() is not None for part in alive) <= 1
                x = torch.rand(5, 1, 4, 4)
                alive.append(weakref.ref(x))
                yield x
                del x

        write_samples(output_of(str(tmp_path / out), None, False), parts(), 30, picture_of)
        assert len(alive) == 6


def test_what_a_run_samples_is_given_back_to_it(tmp_path):
    """A digit that ``sample`` wrote has the model's size, and is what ``--given`` keeps of it."""
    assert main(["fit", "--config", "conf/autoregressive/made_digits.yaml", *SHORT, f"--runs={tmp_path / 'runs'}"]) == 0
    (run,) = (tmp_path / "runs").glob("made_digits/*")
    sample = ["sample", "--ckpt", str(run), "--device", "cpu", "--num", "3"]
    assert main([*sample, "--out", f"{tmp_path}/folder/"]) == 0
    assert main([*sample, "--out", str(tmp_path / "samples.npz")]) == 0
    given = str(tmp_path / "folder" / "000001.png")
    assert main([*sample, "--given", given, "--rows", "8", "--out", str(tmp_path / "kept.npz")]) == 0
    with np.load(tmp_path / "samples.npz") as drawn, np.load(tmp_path / "kept.npz") as kept:
        assert np.array_equal(kept["samples"], drawn["samples"][[1, 1, 1]])
        assert np.array_equal(np.asarray(Image.open(given)), (drawn["samples"][1, 0] * 255).round())
