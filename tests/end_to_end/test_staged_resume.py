"""Killed in every stage and resumed each time, a staged run ends with the weights of the unbroken one, to the bit."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

STAGES = ["1_rbm_1", "2_rbm_2", "3_rbm_3", "4_fine_tuned"]
ARGUMENTS = [
    "--config",
    "conf/autoencoders/rbm_pretrained_digits.yaml",
    "--trainer.max_epochs=3",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.limit_val_batches=1",
    "--trainer.callbacks=[]",
    "--trainer.log_every_n_steps=5",
    "--checkpoint_every_n_steps=7",
    "--data.batch_size=10",
    "--data.binarization=dynamic",
    "--wandb=false",
]
STEPS = 3 * 110
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]


def start(*arguments: str, **options) -> subprocess.Popen:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "lit_gen", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        **options,
    )


def finish(process: subprocess.Popen) -> str:
    told, _ = process.communicate(timeout=400)
    assert process.returncode == 0, told
    return told


def wait_for(process: subprocess.Popen, runs: Path, pattern: str) -> Path:
    """The file that appears in the run folder while the process lives."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        for found in runs.glob(f"*/*/{pattern}"):
            return found
        time.sleep(0.005)
    raise AssertionError(f"the run ended before there was {pattern}: {process.communicate()[0]}")


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def last(stage: Path) -> dict:
    return torch.load(stage / "checkpoints" / "last.ckpt", weights_only=True)


def only_run(runs: Path) -> Path:
    (folder,) = runs.glob("*/*")
    return folder


def equal(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def losses(stage: Path) -> list[list[str]]:
    """The logged rows but for their time."""
    with (stage / "metrics.csv").open() as file:
        return [[value for name, value in row.items() if name != "time"] for row in csv.DictReader(file)]


def test_killed_in_every_stage_equals_unbroken(tmp_path):
    """The kills: in mid-epoch of each stage, and as soon as the first stage's summary, its last trace, is written."""
    unbroken = start("fit", *ARGUMENTS, f"--runs={tmp_path / 'unbroken'}")
    broken = start("fit", *ARGUMENTS, f"--runs={tmp_path / 'broken'}")
    killed_at = {}
    for number, stage in enumerate(STAGES):
        checkpoint = wait_for(broken, tmp_path / "broken", f"stages/{stage}/checkpoints/last.ckpt")
        kill(broken)
        run = checkpoint.parents[3]
        killed_at[stage] = last(run / "stages" / stage)["global_step"]
        assert not (run / "stages" / stage / "summary.json").exists()
        broken = start("fit", "--resume", str(run))
        if number == 0:
            wait_for(broken, tmp_path / "broken", f"stages/{stage}/summary.json")
            kill(broken)
            assert not (run / "stages" / STAGES[1] / "checkpoints" / "last.ckpt").exists()
            broken = start("fit", "--resume", str(run))
    told = finish(broken)
    finish(unbroken)

    assert told.count("finished before") == 3
    assert all(step % 110 and step < STEPS for step in killed_at.values()), killed_at
    whole, pieces = only_run(tmp_path / "unbroken"), only_run(tmp_path / "broken")
    for stage in STAGES:
        one, other = last(whole / "stages" / stage), last(pieces / "stages" / stage)
        assert one["global_step"] == other["global_step"] == STEPS
        for key in ("state_dict", "optimizer_states", "lr_schedulers"):
            assert equal(one[key], other[key]), (stage, key)
        assert losses(whole / "stages" / stage) == losses(pieces / "stages" / stage)
    figures = [json.loads((run / "summary.json").read_text())["figures"] for run in (whole, pieces)]
    assert figures[0] == figures[1]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> tuple[Path, str]:
    """A run on two processes, stopped by Ctrl-C in its third stage and resumed; and what it said when it stopped."""
    runs = tmp_path_factory.mktemp("two")
    long = "--stages.rbm_3.trainer.max_epochs=5000"
    process = start("fit", *ARGUMENTS, *TWO, long, f"--runs={runs}", start_new_session=True)
    try:
        wait_for(process, runs, f"stages/{STAGES[2]}/checkpoints/last.ckpt")
        os.killpg(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=100)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, told
    steps = last(only_run(runs) / "stages" / STAGES[2])["global_step"]
    enough = f"--stages.rbm_3.trainer.max_epochs={steps // 110 + 1}"
    finish(start("fit", "--resume", str(only_run(runs)), enough))
    return only_run(runs), told


def test_interrupt_in_a_stage_says_how_to_resume_the_run(two_processes):
    run, told = two_processes
    assert f"lit-gen fit --resume {run}\n" in told
    assert told.count("stopped at step") == 1
    assert "Traceback" not in told


def test_every_stage_runs_on_both_processes(two_processes):
    run, _ = two_processes
    summary = json.loads((run / "summary.json").read_text())
    assert summary["world_size"] == 2
    assert list(summary["stages"]) == [stage[2:] for stage in STAGES]
    assert summary["stages"]["fine_tuned"]["steps"] == STEPS
    for stage in STAGES:
        assert json.loads((run / "stages" / stage / "summary.json").read_text())["world_size"] == 2
    state = last(run / "stages" / STAGES[3])["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_stages_hand_on_between_two_processes(two_processes):
    run, _ = two_processes
    lower, upper = (last(run / "stages" / stage)["state_dict"] for stage in STAGES[:2])
    assert torch.equal(upper["below.encoder.layers.0.weight"], lower["weight"])
    assert torch.equal(upper["below.encoder.layers.0.bias"], lower["hidden.bias"])
