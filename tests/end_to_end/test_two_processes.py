"""The command line on two processes: the same figures as on one, no hang, no warning about unused parameters."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = {
    "vae": "conf/vaes/vae_digits.yaml",
    "gan": "conf/gans/gan_digits.yaml",
    "made": "conf/autoregressive/made_ensemble_digits.yaml",  # an exact likelihood
}
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
SHORT = [
    "--wandb=false",
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.log_every_n_steps=2",
]


def lit_gen(*arguments: str) -> str:
    """Run the program by itself: the processes that Lightning starts run the same command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lit_gen", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    return told


def only_run(runs: Path) -> Path:
    (folder,) = runs.glob("*/*")
    return folder


def figures(folder: Path) -> dict[str, float]:
    return json.loads((folder / "summary.json").read_text())["figures"]


@pytest.fixture(scope="module", params=CONFIGS)
def run(request, tmp_path_factory) -> Path:
    """A run that trained on two processes."""
    runs = tmp_path_factory.mktemp("two")
    told = lit_gen("fit", "--config", CONFIGS[request.param], *SHORT, *TWO, f"--runs={runs}")
    assert "unused" not in told.lower()
    return only_run(runs)


def test_fit_on_two_processes_leaves_one_whole_run_folder(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["world_size"] == 2
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert (run / "metrics.csv").read_text().splitlines()[0].startswith("step,")


def test_figures_of_two_processes_are_those_of_one(run, tmp_path):
    # 197 validation examples: they don't divide by two.
    common = ["validate", "--config", str(run / "config.yaml"), f"--ckpt_path={run}", "--wandb=false"]
    lit_gen(*common, "--trainer.devices=1", "--trainer.strategy=auto", f"--runs={tmp_path / 'one'}")
    lit_gen(*common, *TWO, f"--runs={tmp_path / 'two'}")
    one, two = figures(only_run(tmp_path / "one")), figures(only_run(tmp_path / "two"))
    assert one.keys() == two.keys()
    assert {name for name in one if name.startswith(("val/nll_nats_", "val/fid_"))}
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=1e-6), name
