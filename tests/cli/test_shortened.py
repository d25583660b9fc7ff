"""A run that the command line cuts short is tested in proportion, and says what it left out."""

import json
import math
from pathlib import Path

import pytest

from lit_gen.cli.main import main
from lit_gen.cli.shortened import Plan, planned_batches, without_lengths

LIKELIHOOD = "{class_path: lit_gen.callbacks.Likelihood, init_args: {num_samples: 20}}"
BASE = ["--config", "conf/vaes/vae_digits.yaml", "--wandb=false", f"--trainer.callbacks=[{LIKELIHOOD}]"]
BASE += ["--data.batch_size=128"]
ONE = "--trainer.max_steps=2"  # 2 batches of 8 x 200: 2 * 128 * 3 passes pay for 38 examples of 20 draws


@pytest.mark.parametrize(
    ("config", "batches"),
    [
        ({"max_epochs": 5}, 50),
        ({"max_epochs": 5, "max_steps": 30}, 30),
        ({"max_epochs": 5, "max_steps": -1}, 50),
        ({"max_steps": 30}, 30),
        ({"max_epochs": -1, "max_steps": 30, "accumulate_grad_batches": 4}, 120),
        ({"max_epochs": -1}, math.inf),
        ({}, 10_000),
        ({"max_time": "00:00:01:00"}, math.inf),
        ({"max_epochs": 5, "limit_train_batches": 3}, 15),
        ({"max_epochs": 5, "limit_train_batches": 0.25}, 10),
        ({"max_epochs": 5, "limit_train_batches": 1.0}, 50),
        ({"max_epochs": 5, "limit_train_batches": 30}, 50),
        ({"max_epochs": 5, "overfit_batches": 1}, 5),
        ({"max_epochs": 0}, 0),
    ],
    ids=str,
)
def test_how_long_a_training_is_planned(config, batches):
    assert planned_batches(config, 10) == batches


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--trainer.max_epochs=1", "--a"], ["--a"]),
        (["--trainer.max_epochs", "1", "--a"], ["--a"]),
        (["--trainer.limit_train_batches=5"], []),
        (["--trainer.max_epoch=1", "--trainer.devices=1", "--model.max_steps=1"], None),
        ([], None),
    ],
)
def test_words_of_the_length_are_left_out(words, left):
    assert without_lengths(words) == left


def fit(runs: Path, *words: str) -> tuple[dict, Path]:
    assert main(["fit", *BASE, f"--runs={runs}", *words]) == 0
    (folder,) = runs.glob("*/*")
    return json.loads((folder / "summary.json").read_text()), folder


def likelihoods(summary: dict) -> list[str]:
    return [name for name in summary["figures"] if "nll" in name and not name.endswith(("_se", "_ess"))]


def test_a_shortened_run_says_what_it_left_out_and_how_to_have_it(tmp_path, capsys):
    summary, folder = fit(tmp_path / "runs", ONE)
    assert likelihoods(summary) == ["test/nll_nats_k20_n100"]
    assert "test/loss" in summary["figures"], "what takes one pass is whole"
    assert summary["shortened"] == {"share": 2 / 1600, "scored": ["nll_nats_k20 on 100 of 500 test examples"]}
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "shortened" in line]
    assert "trained 0.12 % of what the config plans" in told
    assert "nll_nats_k20 on 100 of 500 test examples" in told
    command = told.split("lit-gen test ")[1].split(", or fit")[0].split()
    assert main(["test", *command, f"--runs={tmp_path / 'tests'}"]) == 0
    (whole,) = (tmp_path / "tests").glob("*/*/summary.json")
    assert likelihoods(json.loads(whole.read_text())) == ["test/nll_nats_k20"]
    # Resumed, it is still the run that its first config planned.
    assert main(["fit", "--resume", str(folder), "--trainer.max_steps=3"]) == 0
    assert likelihoods(json.loads((folder / "summary.json").read_text())) == ["test/nll_nats_k20_n100"]
    assert main(["fit", "--resume", str(folder)]) == 0
    assert likelihoods(json.loads((folder / "summary.json").read_text())) == ["test/nll_nats_k20_n100"]


def config_of_two_steps(folder: Path) -> str:
    path = folder / "short.yaml"
    path.write_text("trainer: {max_steps: 2}")
    return str(path)


@pytest.mark.parametrize("case", ["asked for all", "by its files", "as long by the command line", "longer"])
def test_a_run_that_is_not_shortened_is_scored_as_ever(case, tmp_path, capsys):
    files = ["--config", config_of_two_steps(tmp_path)]
    words = {
        "asked for all": [ONE, "--score=full"],
        "by its files": files,
        "as long by the command line": [*files, ONE],
        "longer": [*files, "--trainer.max_steps=3"],
    }[case]
    summary, _ = fit(tmp_path / "runs", *words)
    assert likelihoods(summary) == ["test/nll_nats_k20"]
    assert "shortened" not in summary
    assert "shortened" not in capsys.readouterr().err


def test_time_on_the_command_line_counts_by_the_batches_that_were_done():
    class Trainer:
        class fit_loop:
            class epoch_loop:
                total_batch_idx = 39

            class _combined_loader:
                flattened = [range(10)]

    timed = Plan({"max_epochs": 20, "max_time": "00:00:00:09"}, {"max_epochs": 20, "max_time": None})
    assert (timed.of_run(Trainer), timed.of_files(Trainer)) == (40, 200)
    of_files = Plan({"max_epochs": 20, "max_time": "00:00:00:09"})
    assert of_files.of_run(Trainer) == of_files.of_files(Trainer) == 200
