"""Killed in mid-epoch and resumed, a run ends with the weights of the unbroken one, to the bit."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch

SCHEDULE = "torch.optim.lr_scheduler.CosineAnnealingLR"
AUTOENCODER = json.dumps(
    {
        "class_path": "lit_gen.networks.InstanceNoise",
        "init_args": {
            "std": {"class_path": "lit_gen.schedules.CosineAnnealing", "init_args": {"num_steps": 300, "start": 0.1}},
            "network": {
                "class_path": "lit_gen.networks.SpectralNorm",
                "init_args": {
                    "network": {
                        "class_path": "lit_gen.networks.AutoencodingDiscriminator",
                        "init_args": {
                            "encoder": {
                                "class_path": "lit_gen.networks.MLP",
                                "init_args": {"in_shape": [1, 8, 8], "out_shape": 8, "hidden_dims": [32]},
                            },
                            "decoder": {
                                "class_path": "lit_gen.networks.MLP",
                                "init_args": {"in_shape": 8, "out_shape": [1, 8, 8], "hidden_dims": [32]},
                            },
                        },
                    }
                },
            },
        },
    }
)
REGULARIZERS = json.dumps(
    [
        {
            "class_path": "lit_gen.regularizers.GradientPenalty",
            "init_args": {
                "every_n_steps": 3,
                "weight": {"class_path": "lit_gen.schedules.CosineAnnealing", "init_args": {"num_steps": 300}},
            },
        },
        {"class_path": "lit_gen.regularizers.HistoricalAveraging", "init_args": {"player": "generator"}},
        {"class_path": "lit_gen.regularizers.PullingAway", "init_args": {"weight": 0.1}},
    ]
)
CASES = {
    # What a resumed run could get wrong: where the KL's warm-up and the schedules stand, dynamic binarization.
    "vae": [
        "--config",
        "conf/vaes/vae_digits.yaml",
        "--data.binarization=dynamic",
        "--model.beta=lit_gen.objectives.LinearWarmup",
        "--model.beta.num_steps=300",
        f"--model.scheduler={SCHEDULE}",
        "--model.scheduler.T_max=400",
        "--checkpoint_every_n_steps=7",
        "--trainer.log_every_n_steps=5",
    ],
    # And which player's turn it is. Saved at even steps and logged at all, the run goes on with a row of the log whose
    # generator's loss is of before it was killed.
    "gan": [
        "--config",
        "conf/gans/gan_digits.yaml",
        "--model.ema_decay=0.9",
        "--model.discriminator_steps=2",
        f"--model.generator_scheduler={SCHEDULE}",
        "--model.generator_scheduler.T_max=400",
        f"--model.discriminator_scheduler={SCHEDULE}",
        "--model.discriminator_scheduler.T_max=300",
        "--checkpoint_every_n_steps=14",
        "--trainer.log_every_n_steps=1",
    ],
    # And the objective's weight, a penalty's turn and its schedule, the mean of the weights, power iterations, noise.
    "regularized gan": [
        "--config",
        "conf/gans/gan_digits.yaml",
        f"--model.discriminator={AUTOENCODER}",
        "--model.objective={class_path: lit_gen.objectives.BoundaryEquilibrium, init_args: {learning_rate: 0.05}}",
        f"--model.regularizers={REGULARIZERS}",
        f"--model.generator_scheduler={SCHEDULE}",
        "--model.generator_scheduler.T_max=400",
        f"--model.discriminator_scheduler={SCHEDULE}",
        "--model.discriminator_scheduler.T_max=300",
        "--checkpoint_every_n_steps=7",
        "--trainer.log_every_n_steps=5",
    ],
    # And which of a network's orders has its turn, and the average of its weights.
    "autoregressive": [
        "--config",
        "conf/autoregressive/made_ensemble_digits.yaml",
        "--model.ema_decay=0.9",
        f"--model.scheduler={SCHEDULE}",
        "--model.scheduler.T_max=400",
        "--checkpoint_every_n_steps=7",
        "--trainer.log_every_n_steps=5",
    ],
    # And where the persistent chains stand; the momentum changes after the kill.
    "rbm": [
        "--config",
        "conf/energy/rbm_digits.yaml",
        "--model.momentum.step=300",
        "--checkpoint_every_n_steps=7",
        "--trainer.log_every_n_steps=5",
    ],
}
COMMON = [
    "--trainer.max_epochs=3",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.callbacks=[]",
    "--monitor=null",
    "--data.batch_size=8",
    "--wandb=false",
]


def start(*arguments: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "lit_gen", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen) -> str:
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return told


def last_row(folder: Path) -> int:
    """Number of the last step that the log has a row of, -1 without any."""
    *_, last = (folder / "metrics.csv").read_text().splitlines() or ["step"]
    return int(last.split(",")[0]) if last[:1].isdigit() else -1


def step_of(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["global_step"]


def kill_in_mid_epoch(process: subprocess.Popen, runs: Path, at_least: int) -> Path:
    """Kill once ``last.ckpt`` is of step ``at_least`` or later, and of no epoch's last step; the run's folder."""
    num_steps_an_epoch()  # read before there is anything to miss
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        for checkpoint in runs.glob("*/*/checkpoints/last.ckpt"):
            if step_of(checkpoint) < at_least:
                continue
            process.send_signal(signal.SIGSTOP)  # it must not go on while we look
            step = step_of(checkpoint)
            # Between a checkpoint and the row of its own step a kill costs that row (docs/LOG.md): not here.
            if step % num_steps_an_epoch() and last_row(checkpoint.parents[1]) >= step:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                return checkpoint.parents[1]
            process.send_signal(signal.SIGCONT)
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
    steps_an_epoch = num_steps_an_epoch()
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
    assert len(one["lr_schedulers"]) == len(one["optimizer_states"])
    assert_equal_states(one["lr_schedulers"], other["lr_schedulers"])
    assert metrics(whole.parents[1]) == metrics(folder), "the log reads as if nothing had happened"


@cache
def num_steps_an_epoch() -> int:
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


def wait_for_checkpoint(process: subprocess.Popen, runs: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(runs.glob("*/*/checkpoints/last.ckpt")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.05)


def test_interrupt_saves_and_says_how_to_resume(tmp_path):
    process = start("fit", *CASES["vae"], *COMMON, "--trainer.max_epochs=500", f"--runs={tmp_path}")
    wait_for_checkpoint(process, tmp_path)
    os.kill(process.pid, signal.SIGINT)
    told, _ = process.communicate(timeout=120)
    (folder,) = tmp_path.glob("*/*")
    assert process.returncode == 130, told
    assert f"lit-gen fit --resume {folder}" in told
    assert "Traceback" not in told
    assert f"stopped at step {step_of(folder / 'checkpoints' / 'last.ckpt')}" in told


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["one process", "the group, as a terminal does"])
def test_interrupt_stops_two_processes(send, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
    # Epochs of four batches, fewer than there are between two looks at the other process.
    long = ["--data.batch_size=256", "--trainer.max_epochs=5000", "--checkpoint_every_n_steps=7", f"--runs={tmp_path}"]
    process = start("fit", *CASES["vae"], *COMMON, *two, *long, env=environment, start_new_session=True)
    try:
        wait_for_checkpoint(process, tmp_path)
        send(process.pid, signal.SIGINT)
        # Both processes write to this pipe, so that this returns when neither is left.
        told, _ = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    (folder,) = tmp_path.glob("*/*")
    assert process.returncode == 130, told
    assert "Traceback" not in told
    step = step_of(folder / "checkpoints" / "last.ckpt")
    assert told.count("stopped at step") == told.count(f"stopped at step {step},") == 1, told
    assert step % 10 == 0
