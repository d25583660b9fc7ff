"""``fit`` ends with metrics, pictures and best.ckpt of its final model, and goes on as if it had never ended there."""

import csv
import json
from pathlib import Path

import pytest
import torch

from lit_gen.cli.main import main

BASE = [
    "fit",
    "--config",
    "conf/vaes/vae_digits.yaml",
    "--wandb=false",
    "--data.batch_size=128",
    "--trainer.log_every_n_steps=3",
]
GRID = "{class_path: lit_gen.callbacks.SampleGrid, init_args: {every_n_epochs: 100, num_samples: 4}}"
PAIRS = "{class_path: lit_gen.callbacks.Reconstructions, init_args: {every_n_epochs: 100, num_examples: 2}}"
CALLBACKS = f"--trainer.callbacks=[{GRID}, {PAIRS}]"


def fit(runs: Path, *words: str) -> Path:
    assert main([*BASE, CALLBACKS, f"--runs={runs}", *words]) == 0
    (folder,) = runs.glob("*/*")
    return folder


def state(folder: Path, name: str = "last.ckpt") -> dict:
    return torch.load(folder / "checkpoints" / name, weights_only=True)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_equal(one, other, path: str = "") -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_equal(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{path}[{number}]")
    else:
        assert one == other, path


# An end; the batches until there, of which an epoch has 8 (limited to 4 where said).
ENDS = {
    "amid an epoch": (["--trainer.max_steps=5"], 5),
    "in an epoch without validation": (["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=2"], 8),
    "at an epoch's end": (["--trainer.max_epochs=1"], 8),
    "after fewer batches": (["--trainer.max_epochs=1", "--trainer.limit_train_batches=4"], 4),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_run_ends_with_what_is_of_its_final_model(end, tmp_path):
    words, batches = ENDS[end]
    folder = fit(tmp_path, *words)
    pictures = {path.name for path in (folder / "samples").iterdir()}
    assert {f"samples_{batches:07d}.png", f"reconstructions_{batches:07d}.png"} <= pictures
    measured = [row for row in rows(folder) if row.get("val/loss")]
    assert [row["step"] for row in measured] == [str(batches - 1)]
    best, last = state(folder, "best.ckpt"), state(folder)
    assert_equal(best["state_dict"], last["state_dict"])
    if "--trainer.max_steps=5" in words or "--trainer.check_val_every_n_epoch=2" in words:
        assert_equal(best["loops"], last["loops"])


@pytest.mark.parametrize("end", ["amid an epoch", "in an epoch without validation", "at an epoch's end"])
@pytest.mark.parametrize("source", ["--resume", "best.ckpt"])
def test_a_longer_run_knows_nothing_of_an_end_on_the_way(end, source, tmp_path):
    words, _ = ENDS[end]
    longer = ["--trainer.max_epochs=3", "--trainer.max_steps=-1"]
    whole = fit(tmp_path / "whole", *words, *longer)
    parts = fit(tmp_path / "parts", *words)
    if source == "--resume":
        assert main(["fit", "--resume", str(parts), *longer]) == 0
    else:
        best = parts / "checkpoints" / "best.ckpt"
        parts = fit(tmp_path / "from best", *words, *longer, f"--ckpt_path={best}")
    one, other = state(whole), state(parts)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch", "loops"):
        assert_equal(one[key], other[key], key)
    losses = [[(row["step"], row["train/loss"]) for row in rows(f) if row["train/loss"]] for f in (whole, parts)]
    assert losses[1] == losses[0][-len(losses[1]) :]
    assert json.loads((parts / "summary.json").read_text())["steps"] == 24
