"""Killed in mid-epoch and resumed, a run ends with the weights of the unbroken one, to the bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

CASES = {
    # The KL's warm-up, dynamic binarization and a two-step schedule are what a resumed run could get wrong.
    "vae": ["--config", "conf/vaes/vae_digits.yaml", "--data.binarization=dynamic"],
    "gan": ["--config", "conf/gans/gan_digits.yaml", "--model.ema_decay=0.9", "--model.discriminator_steps=2"],
}
COMMON = [
    "--trainer.max_epochs=3",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.callbacks=[]",
    "--monitor=null",
    "--data.batch_size=8",
    "--checkpoint_every_n_steps=7",
    "--wandb=false",
    "--trainer.log_every_n_steps=5",
]


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "lit_gen", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen) -> str:
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def step_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["global_step"]


def kill_in_mid_epoch(process: subprocess.Popen, runs: Path, at_least: int) -> Path:
    """Kill once ``last.ckpt`` is of step ``at_least`` or later; the run's folder."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        for checkpoint in runs.glob("*/*/checkpoints/last.ckpt"):
            if step_of(checkpoint) >= at_least:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                return checkpoint.parents[1]
        time.sleep(0.02)
    raise AssertionError(f"the run ended before it could be killed: {process.communicate()[0]}")


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_equals_unbroken(case, tmp_path):
    arguments = ["fit", *CASES[case], *COMMON]
    unbroken = start(*arguments, f"--runs={tmp_path / 'unbroken'}")
    broken = start(*arguments, f"--runs={tmp_path / 'broken'}")
    folder = kill_in_mid_epoch(broken, tmp_path / "broken", at_least=170)
    finish(unbroken)
    last = folder / "checkpoints" / "last.ckpt"
    steps_an_epoch = len_of_epoch(last)
    killed_at = step_of(last)
    assert killed_at % steps_an_epoch, "killed in mid-epoch"

    finish(start("fit", "--resume", str(folder)))

    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "it went on in its own folder"
    (whole,) = (tmp_path / "unbroken").glob("*/*/checkpoints/last.ckpt")
    one, other = torch.load(whole, weights_only=True), torch.load(last, weights_only=True)
    assert one["global_step"] == other["global_step"] == 3 * steps_an_epoch > killed_at
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert_equal_states(one["optimizer_states"], other["optimizer_states"])
    assert metrics(whole.parents[1]) == metrics(folder), "the log reads as if nothing had happened"


def len_of_epoch(checkpoint: Path) -> int:
    from sklearn.datasets import load_digits

    from lit_gen.data.digits import Digits

    assert len(load_digits().images) == 1797
    data = Digits(batch_size=8)
    data.setup()
    return data.num_examples("train") // 8


def assert_equal_states(one, other) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_states(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_equal_states(*pair)
    else:
        assert one == other


def metrics(folder: Path) -> list[str]:
    """The logged training losses, row by row."""
    import csv

    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = [name for name in rows[0] if name.startswith("train/")]
    return [",".join([row["step"], *(row[name] for name in kept)]) for row in rows if any(row[name] for name in kept)]


def test_interrupt_saves_and_says_how_to_resume(tmp_path):
    process = start("fit", *CASES["vae"], *COMMON, "--trainer.max_epochs=500", f"--runs={tmp_path}")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=120)
    (folder,) = tmp_path.glob("*/*")
    assert process.returncode == 130, told
    assert f"lit-gen fit --resume {folder}" in told
    assert "Traceback" not in told
    assert f"stopped at step {step_of(folder / 'checkpoints' / 'last.ckpt')}" in told
