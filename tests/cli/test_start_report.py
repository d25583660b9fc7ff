"""What a run says before its first step."""

import json
import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from torch import nn

from lit_gen.cli import run_state
from lit_gen.cli.main import main
from lit_gen.cli.start_report import data_lines, parameters_line, show, training_line

DIGITS = "conf/vaes/vae_digits.yaml"
QUICK = ["--trainer.callbacks=[]", "--wandb=false", "--trainer.accelerator=cpu"]


@pytest.fixture
def told(capsys):
    """Run a command line; the lines before the first table."""

    def told(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert main([*arguments]) == 0
        return re.split(r"\n[^\n]*\n[┏+]", capsys.readouterr().out)[0].splitlines()

    return told


def test_a_fit_says_where_it_goes_on_what_and_how_far(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Path(__file__).parents[2] / DIGITS
    lines = told("fit", f"--config={config}", "--trainer.max_epochs=2", "--model.beta=2", *QUICK)
    (run,) = (tmp_path / "runs" / "vae_digits").iterdir()
    assert run.name.endswith("-max_epochs=2-beta=2-accelerator=cpu")
    text = "\n".join(lines)
    assert text.split()[:3] == ["run", "folder:", f"runs/vae_digits/{run.name}"]
    assert re.search(r"^data: Digits", text, re.M)
    assert re.search(rf"^device: cpu, {torch.get_num_threads()} threads?; precision 32-true$", text, re.M)
    # 64-200-200-20 and 10-200-200-64, weights and biases
    encoder, decoder = (
        64 * 200 + 200 + 200 * 200 + 200 + 200 * 20 + 20,
        10 * 200 + 200 + 200 * 200 + 200 + 200 * 64 + 64,
    )
    whole = f"parameters: encoder {encoder:,}, decoder {decoder:,}; {encoder + decoder:,} trained, 0 frozen"
    assert whole in lines
    assert "training: 2 epochs of 17 batches of 64 = 34 steps" in lines
    assert "W&B: off" in lines
    step = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["global_step"]
    assert lines[-1] == f"testing best.ckpt of step {step}"
    evaluated = json.loads((run / "summary.json").read_text())["evaluated"]
    assert evaluated == {"checkpoint": "best.ckpt", "step": step}, "the table's metrics are of these weights"
    assert len(lines) <= 11 and max(map(len, lines)) <= 80
    assert json.loads((run / "summary.json").read_text())["data"]["module"] == "Digits"
    assert run_state.state_of(run) == run_state.FINISHED

    resumed = told("fit", "--resume", str(run), "--trainer.max_epochs=3", "--trainer.accelerator=cpu")
    assert "resumed: at epoch 3, after 34 steps" in resumed
    assert run_state.read(run)["overrides"]["trainer.max_epochs"] == "3"
    assert run_state.read(run)["overrides"]["model.beta"] == "2"
    tested = told("test", f"--config={run}/config.yaml", f"--ckpt_path={run}")
    assert any(line.endswith("checkpoints/best.ckpt") for line in tested)
    assert any(line.startswith("data: Digits") for line in tested)


def test_a_staged_run_says_what_is_common_once(told, tmp_path):
    config = "conf/autoencoders/rbm_pretrained_digits.yaml"
    told_all = told("fit", "--config", config, "--trainer.max_steps=2", "--wandb=false", f"--runs={tmp_path}")
    assert told_all[0].startswith("run folder: ")
    assert told_all[1] == "stage 1 of 4: rbm_1"
    assert sum(line.startswith("data: ") for line in told_all) == 1
    (run,) = tmp_path.glob("*/*")
    assert json.loads((run / "run.json").read_text())["overrides"] == {"trainer.max_steps": "2"}


def test_a_run_is_running_while_it_trains_and_a_failed_one_says_so(tmp_path, monkeypatch):
    from lit_gen.models.vaes.vae import VAE

    states = []

    def training_step(self, batch, batch_idx):
        (run,) = tmp_path.glob("*/*")
        states.append(run_state.state_of(run))
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(VAE, "training_step", training_step)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        main(["fit", "--config", DIGITS, *QUICK, f"--runs={tmp_path}"])
    (run,) = tmp_path.glob("*/*")
    assert states == [run_state.RUNNING]
    assert run_state.state_of(run) == run_state.FAILED
    assert "broken on purpose" in run_state.read(run)["error"]


ENDLESS = "without an end (no max_epochs, max_steps, max_time or EarlyStopping); Ctrl-C stops and saves it"


def trainer(batches=17, epochs=-1, steps=-1, accumulate=1, seconds=None):
    callbacks = []
    if seconds is not None:
        callbacks.append(Timer(timedelta(seconds=seconds)))
    return SimpleNamespace(
        num_training_batches=batches,
        max_epochs=epochs,
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        callbacks=callbacks,
        datamodule=SimpleNamespace(batch_size=64),
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"epochs": 200}, "200 epochs of 17 batches of 64 = 3,400 steps"),
        ({"epochs": 1, "batches": 1}, "1 epoch of 1 batch of 64 = 1 steps"),
        ({"epochs": 2, "accumulate": 4}, "2 epochs of 17 batches of 64 = 10 steps"),
        ({"epochs": 200, "steps": 50}, "50 steps, an epoch is 17 batches of 64"),
        ({"epochs": 2, "steps": 50}, "2 epochs of 17 batches of 64 = 34 steps"),
        ({"steps": 50}, "50 steps, an epoch is 17 batches of 64"),
        ({}, f"{ENDLESS}, an epoch is 17 batches of 64"),
        ({"epochs": None}, f"{ENDLESS}, an epoch is 17 batches of 64"),
        ({"seconds": 90}, "for at most 1:30, an epoch is 17 batches of 64"),
        ({"epochs": 3, "seconds": 90}, "3 epochs of 17 batches of 64 = 51 steps, for at most 1:30"),
        ({"epochs": 3, "batches": float("inf")}, "3 epochs of batches without end of 64"),
    ],
)
def test_the_steps_to_come(given, line):
    assert training_line(trainer(**given)) == f"training: {line}"


def test_parameters_by_part_shared_and_frozen():
    model = nn.Module()
    model.encoder, model.decoder = nn.Linear(3, 2), nn.Linear(2, 3)
    model.tied = model.encoder
    model.scale = nn.Parameter(torch.ones(5))
    model.decoder.requires_grad_(False)
    model.lazy = nn.LazyLinear(4)
    line = parameters_line(model)
    assert line == "parameters: scale 5, encoder 8, decoder 9; 13 trained, 9 frozen"
    assert parameters_line(nn.Module()) == "parameters: none"


def test_many_parts_are_added_up():
    line = parameters_line(nn.ModuleDict({f"part{k}": nn.Linear(k, 1, bias=False) for k in range(1, 10)}))
    assert line == "parameters: part4 4, part5 5, part6 6, part7 7, part8 8, part9 9, others 6; 45 trained, 0 frozen"


def test_what_the_data_are_is_theirs_to_say():
    described = SimpleNamespace(
        lines=lambda: ["Digits: theirs", "train 90", "passed over: 3"], as_dict=lambda: {"a": 1}
    )
    remarks = {}
    lines = data_lines(SimpleNamespace(description=lambda: described), remarks)
    assert lines == ["data: Digits: theirs", "  train 90", "  passed over: 3"]
    assert remarks == {"data": {"a": 1}}


def test_long_lines_are_wrapped_and_paths_are_not(capsys):
    path = "/" + "x" * 100
    show([f"run folder: {path}", "parameters: " + "encoder 1, " * 20, "  passed over " + "word " * 30])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == [f"  {path}"]
    assert lines[-1].startswith("    word")
