"""Every run folder has the curves of its losses, from its whole metrics.csv, and no run fails for them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_gen.cli import loss_curves, run_folder
from lit_gen.cli.log_interval import interval
from lit_gen.cli.loss_curves import MOST_POINTS, read, thinned, unit_of
from lit_gen.cli.main import main

SHORT = ["--trainer.max_epochs=1", "--trainer.callbacks=[]", "--wandb=false", "--trainer.log_every_n_steps=2"]


def test_terms_have_a_curve_for_each_split_losses_first(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text(
        "step,epoch,time,val/kl,train/kl,train/loss,lr,test/loss,val/loss\n"
        "1,0,9.5,,0.5,3.0,0.1,,\n"
        "2,0,9.5,0.25,,,,,2.5\n"
        "3,1,9.5,,0.75,nan,0.1,,\n"
        "3,1,9.5,,,,,7.0,\n"
    )
    terms = read(file)
    assert list(terms) == ["loss", "kl"]
    assert list(terms["loss"]) == list(terms["kl"]) == ["train", "val"]
    assert terms["kl"]["train"].steps.tolist() == [1, 3] and terms["kl"]["train"].values.tolist() == [0.5, 0.75]
    assert terms["loss"]["val"].steps.tolist() == [2] and terms["loss"]["val"].values.tolist() == [2.5]
    np.testing.assert_array_equal(terms["loss"]["train"].values, [3.0, np.nan])
    loss_curves.draw(terms, tmp_path / "curves.png", "a run")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size[0] > 900, "two panels side by side"


def test_a_curve_of_many_points_is_the_mean_of_neighbours():
    steps, values = np.arange(10.0 * MOST_POINTS + 3), np.random.default_rng(0).random(10 * MOST_POINTS + 3)
    curve = thinned(steps, values)
    assert MOST_POINTS / 2 < len(curve.steps) <= MOST_POINTS
    assert curve.steps[0] == 5 and curve.values[0] == pytest.approx(values[:11].mean())
    assert curve.steps[-1] <= steps[-1] and np.diff(curve.steps).min() > 0


def test_units_are_read_from_names():
    names = {"nll_nats_k500": "nats", "bits_per_dim": "bits/dim", "psnr_db": "dB", "kl": "nats", "loss": None}
    assert {name: unit_of(name) for name in names} == names


def fit(config: str, runs: Path, *words: str) -> Path:
    assert main(["fit", "--config", f"conf/{config}.yaml", *SHORT, f"--runs={runs}", *words]) == 0
    return max(runs.glob(f"{Path(config).name}/*"))


def drawn(monkeypatch) -> list[tuple[str, dict]]:
    """What the pictures of the runs to come show."""
    seen, draw = [], loss_curves.draw

    def watched(terms, file, name):
        seen.append((name, terms))
        draw(terms, file, name)

    monkeypatch.setattr(loss_curves, "draw", watched)
    return seen


def test_a_resumed_run_has_the_curves_of_both_legs(tmp_path, monkeypatch):
    seen = drawn(monkeypatch)
    run = fit("vaes/vae_digits", tmp_path)
    first = (run / "curves.png").read_bytes()
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=2"]) == 0
    (_, before), (name, after) = seen
    assert name == f"vae_digits/{run.name}" and (run / "curves.png").read_bytes() != first
    assert {"loss", "reconstruction", "kl"} <= set(after)
    for split, counts in {"train": (8, 17), "val": (1, 2)}.items():  # of 17 batches an epoch every other one
        earlier, whole = (terms["loss"][split].steps.tolist() for terms in (before, after))
        assert whole[: len(earlier)] == earlier and (len(earlier), len(whole)) == counts


def test_games_runs_without_validation_and_stages_have_theirs(tmp_path, monkeypatch):
    seen = drawn(monkeypatch)
    words = ["--trainer.limit_train_batches=6", "--monitor=null"]
    run = fit("gans/gan_digits", tmp_path, *words, "--trainer.limit_val_batches=0", "--trainer.limit_test_batches=1")
    ((_, terms),) = seen
    assert {"generator_loss", "discriminator_loss"} <= set(terms)
    assert all(list(by_split) == ["train"] for by_split in terms.values()) and (run / "curves.png").is_file()
    seen.clear()
    run = fit("autoencoders/rbm_pretrained_digits", tmp_path)
    stages = sorted(path.parent.name for path in run.glob("stages/*/curves.png"))
    assert len(stages) == 4
    assert [name for name, _ in seen] == [f"rbm_pretrained_digits/{run.name}, stage {stage}" for stage in stages]


def test_a_run_that_fails_in_training_has_them_too(tmp_path, monkeypatch):
    bad = ["--model.optimizer.lr=1e30", "--trainer.log_every_n_steps=1"]
    words = ["fit", "--config", "conf/vaes/vae_digits.yaml", *SHORT, *bad, f"--runs={tmp_path}"]
    assert main(words) == 2
    (run,) = tmp_path.glob("vae_digits/*")
    assert (run / "curves.png").is_file()


def test_no_run_fails_for_its_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_curves, "curves", lambda *arguments: 1 / 0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = fit("vaes/vae_digits", tmp_path)
    assert (run / "summary.json").is_file() and not (run / "curves.png").exists()
    logged = (run / "log.txt").read_text() + "".join(str(warning.message) for warning in caught)
    assert "curves.png could not be drawn (ZeroDivisionError: division by zero)" in logged


def test_names_of_runs(tmp_path):
    assert run_folder.called(tmp_path / "vae" / "1") == "vae/1"
    assert run_folder.called(tmp_path / "vae" / "1" / "stages" / "2_b") == "vae/1, stage 2_b"


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["--trainer.max_steps=3"], [0, 1, 2]),
        (["--trainer.max_epochs=2"], list(range(2, 34, 3))),  # of 34 steps every third
        (["--trainer.max_epochs=3", "--trainer.accumulate_grad_batches=2"], None),
    ],
)
def test_a_short_training_is_logged_often_enough_for_a_curve(words, steps, tmp_path, monkeypatch, capsys):
    seen = drawn(monkeypatch)
    short = ["--trainer.callbacks=[]", "--wandb=false", "--monitor=null", "--data.num_validation=0"]
    config = ["--config", "conf/vaes/vae_digits.yaml", "--data.batch_size=75"]
    assert main(["fit", *config, *short, f"--runs={tmp_path}", *words]) == 0
    ((_, terms),) = seen
    logged = terms["loss"]["train"].steps.tolist()
    assert logged == steps or (steps is None and len(logged) >= 10)
    assert "log_every_n_steps" not in capsys.readouterr().err


def test_a_longer_run_logs_every_50_steps_and_what_the_config_says_stays(tmp_path, monkeypatch):
    seen = drawn(monkeypatch)
    assert [interval(steps) for steps in (0, 1, 19, 85, 499, 500, 1e9, float("inf"))] == [1, 1, 1, 8, 49, 50, 50, 50]
    fit("vaes/vae_digits", tmp_path, "--trainer.log_every_n_steps=7")
    assert seen[-1][1]["loss"]["train"].steps.tolist() == [6, 13]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "curves.png has no curves of the training (trainer.log_every_n_steps is 50, training batches 17)"),
        (["--trainer.limit_val_batches=0", "--monitor=null"], "there is no curves.png: nothing was logged"),
    ],
)
def test_a_training_of_which_nothing_was_logged_is_mentioned(words, told, tmp_path, capsys):
    run = fit("vaes/vae_digits", tmp_path, "--trainer.log_every_n_steps=50", *words)
    assert capsys.readouterr().err.count(told) == 1
    assert (run / "curves.png").is_file() == (not words)
