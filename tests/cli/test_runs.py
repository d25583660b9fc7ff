"""A run's folder, and the verbs that read it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image

from lit_gen.cli.interpolation import expand
from lit_gen.cli.main import main

CONFIG = "conf/vaes/vae_digits.yaml"
SHORT = [
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.log_every_n_steps=2",
    "--wandb=false",
    "--score=full",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main(["fit", "--config", CONFIG, *SHORT, f"--runs={runs}"]) == 0
    (folder,) = runs.glob("vae_digits/*")
    return folder


def test_run_folder_holds_what_it_should(run):
    assert {path.name for path in run.iterdir()} >= {
        "checkpoints",
        "config.yaml",
        "log.txt",
        "metrics.csv",
        "samples",
        "summary.json",
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert list((run / "samples").glob("*.png"))


def test_summary_names_figures_protocols_and_versions(run):
    summary = json.loads((run / "summary.json").read_text())
    nll = [name for name in summary["figures"] if re.fullmatch(r"test/nll_nats_k\d+", name)]
    fid = [name for name in summary["figures"] if name.startswith("test/fid_lenet_")]
    assert len(nll) == len(fid) == 1
    assert "binarization" in summary["protocols"][nll[0]]
    assert "train examples" in summary["protocols"][fid[0]]
    assert summary["seed"] == 0
    assert summary["versions"]["torch"] == torch.__version__.split("+")[0]
    assert summary["images_per_second"] > 0


@pytest.mark.parametrize(("binarization", "told"), [("none", True), ("threshold", False)])
def test_the_cross_entropy_of_grey_pixels_is_not_called_a_likelihood(tmp_path, binarization, told):
    callback = "--trainer.callbacks=[{class_path: lit_gen.callbacks.Likelihood, init_args: {num_samples: 2}}]"
    words = [f"--data.binarization={binarization}", "--trainer.max_steps=1", "--wandb=false", f"--runs={tmp_path}"]
    words.append("--score=full")
    assert main(["fit", "--config", CONFIG, callback, *words]) == 0
    (summary,) = tmp_path.glob("*/*/summary.json")
    protocol = json.loads(summary.read_text())["protocols"]["test/nll_nats_k2"]
    assert ("not a likelihood: 500 of the examples have grey levels" in protocol) == told


def test_config_is_resolved_and_trains_again(run, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert "in_shape: ${data.image_shape}  # [1, 8, 8]\n" in (run / "config.yaml").read_text()
    assert config["name"] == "vae_digits"
    again = ["fit", "--config", str(run / "config.yaml"), f"--runs={tmp_path}", "--trainer.fast_dev_run=1"]
    assert main(again) == 0


def stored_in(run: Path) -> tuple[str, str]:
    """The config in the run's folder and that in its checkpoint."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return (run / "config.yaml").read_text(), checkpoint["lit_gen_config"]


def test_checkpoints_hold_values_where_the_runs_config_holds_interpolations(run):
    kept, resolved = stored_in(run)
    assert "${" not in resolved
    assert "${" in kept
    config = OmegaConf.create(expand(yaml.safe_load(kept)))
    assert OmegaConf.to_container(config, resolve=True) == yaml.safe_load(resolved)


QUICK = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--trainer.limit_test_batches=1", "--wandb=false"]

CHANGES = {
    "--model.prior.dim=4": [("encoder", "out_shape", 4), ("decoder", "in_shape", 4), ("prior", "dim", 4)],
    "--data.image_shape=[1,16,16]": [("encoder", "in_shape", [1, 16, 16]), ("decoder", "out_shape", [1, 16, 16])],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_runs_own_config_is_changed_and_run_again(run, tmp_path, change):
    config = run / "config.yaml"
    for words in ([change], []):  # the second time from the changed run's own config
        runs = tmp_path / str(len(words))
        assert main(["fit", "--config", str(config), f"--runs={runs}", *QUICK, *words]) == 0
        (again,) = runs.glob("*/*")
        config = again / "config.yaml"
        kept, resolved = (yaml.safe_load(text)["model"]["init_args"] for text in stored_in(again))
        for part, key, value in CHANGES[change]:
            assert resolved[part]["init_args"][key] == value
        assert kept["encoder"]["init_args"]["in_shape"] == "${data.image_shape}"


def test_an_interpolation_that_was_overridden_stays_a_value(tmp_path):
    words = ["--model.encoder.in_shape=[1,8,8]", f"--runs={tmp_path}", *QUICK]
    assert main(["fit", "--config", CONFIG, *words]) == 0
    (run,) = tmp_path.glob("*/*")
    kept = yaml.safe_load(stored_in(run)[0])["model"]["init_args"]
    assert kept["encoder"]["init_args"]["in_shape"] == [1, 8, 8]
    assert kept["decoder"]["init_args"]["out_shape"] == "${data.image_shape}"


def test_a_run_folder_is_named_as_a_config(run, tmp_path):
    assert main(["fit", "--config", str(run), f"--runs={tmp_path}", "--trainer.fast_dev_run=1"]) == 0
    assert [path.parent.name for path in tmp_path.glob("*/*")] == ["vae_digits"]


def test_runs_may_lie_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["fit", "--config", CONFIG, "--runs=~/runs", "--trainer.fast_dev_run=1", "--wandb=false"]) == 0
    assert len(list((tmp_path / "runs").glob("vae_digits/*"))) == 1


def test_same_seed_same_run(run, tmp_path):
    assert main(["fit", "--config", CONFIG, *SHORT, f"--runs={tmp_path}"]) == 0
    (other,) = tmp_path.glob("vae_digits/*")
    one, two = (json.loads((folder / "summary.json").read_text())["figures"] for folder in (run, other))
    assert one == two


def test_test_verb_repeats_the_figures_of_fit(run, tmp_path):
    arguments = ["test", "--config", str(run / "config.yaml"), f"--ckpt_path={run}", f"--runs={tmp_path}"]
    assert main(arguments) == 0
    (again,) = tmp_path.glob("vae_digits/*")
    figures = json.loads((run / "summary.json").read_text())["figures"]
    assert json.loads((again / "summary.json").read_text())["figures"] == pytest.approx(figures, rel=1e-6)


def test_predict_writes_every_example_once(run, tmp_path):
    arguments = ["predict", "--config", str(run / "config.yaml"), f"--ckpt_path={run}", f"--runs={tmp_path}"]
    assert main(arguments) == 0
    (predictions,) = tmp_path.glob("vae_digits/*/predictions.npz")
    arrays = np.load(predictions)
    assert arrays["index"].tolist() == list(range(500))
    assert arrays["reconstruction"].shape == (500, 1, 8, 8)


def test_resumed_run_goes_on_in_its_own_folder(run, tmp_path):
    before = json.loads((run / "summary.json").read_text())["steps"]
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=3"]) == 0
    assert [path.name for path in run.parent.iterdir()] == [run.name]
    assert json.loads((run / "summary.json").read_text())["steps"] == before * 3 // 2


@pytest.mark.parametrize("every", [500, 5])
def test_a_run_that_max_steps_ends_amid_an_epoch_goes_on_with_that_epoch(tmp_path, every):
    base = ["fit", "--config", CONFIG, "--wandb=false", "--trainer.callbacks=[]", f"--checkpoint_every_n_steps={every}"]
    assert main([*base, f"--runs={tmp_path / 'whole'}", "--trainer.max_epochs=2"]) == 0
    assert main([*base, f"--runs={tmp_path / 'parts'}", "--trainer.max_steps=5"]) == 0
    (whole,), (parts,) = (list(tmp_path.glob(f"{name}/vae_digits/*")) for name in ("whole", "parts"))
    assert json.loads((parts / "summary.json").read_text())["epochs"] == 1
    assert main(["fit", "--resume", str(parts), "--trainer.max_steps=-1", "--trainer.max_epochs=2"]) == 0
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (parts, whole))
    assert theirs["steps"] > 10
    assert [ours[key] for key in ("steps", "epochs", "figures")] == [
        theirs[key] for key in ("steps", "epochs", "figures")
    ]


def best_score(checkpoint):
    states = torch.load(checkpoint, weights_only=True)["callbacks"]
    (score,) = [state["best_model_score"] for name, state in states.items() if "BestCheckpoint" in name]
    return score


EARLY = (
    "{class_path: lightning.pytorch.callbacks.EarlyStopping, "
    "init_args: {monitor: val/loss, patience: 1, min_delta: 1000.0}}"
)


@pytest.mark.parametrize("ends", ["--trainer.max_steps=6", f"--trainer.callbacks=[{EARLY}]"])
def test_a_run_that_ends_at_a_validation_amid_an_epoch_keeps_its_best_and_goes_on(tmp_path, ends):
    base = ["fit", "--config", CONFIG, "--wandb=false", "--trainer.val_check_interval=3"]
    base += ["--trainer.check_val_every_n_epoch=1"]
    none = "--trainer.callbacks=[]"
    assert main([*base, none, f"--runs={tmp_path / 'whole'}", "--trainer.max_steps=12"]) == 0
    assert main([*base, none, ends, f"--runs={tmp_path / 'parts'}"]) == 0
    (whole,), (parts,) = (list(tmp_path.glob(f"{name}/vae_digits/*")) for name in ("whole", "parts"))
    last, best = (parts / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    assert json.loads((parts / "summary.json").read_text())["steps"] == 6
    assert best_score(last) == best_score(best)
    resumed = ["fit", "--resume", str(parts), "--trainer.max_steps=12", none]
    assert main(resumed) == 0
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (parts, whole))
    assert [ours[key] for key in ("steps", "epochs", "figures")] == [
        theirs[key] for key in ("steps", "epochs", "figures")
    ]
    losses = [[line.split(",")[0] for line in (f / "metrics.csv").read_text().splitlines()] for f in (parts, whole)]
    assert losses[0].count("5") == losses[1].count("5")


def test_a_worse_model_does_not_replace_a_best_one_that_last_does_not_know(tmp_path):
    """Killed after the validation that found it, before the next ``last.ckpt``."""
    base = ["fit", "--config", CONFIG, "--wandb=false", "--trainer.callbacks=[]", f"--runs={tmp_path}"]
    every = ["--trainer.check_val_every_n_epoch=1"]
    assert main([*base, *every, "--trainer.max_epochs=1"]) == 0
    (folder,) = tmp_path.glob("vae_digits/*")
    best = folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(best, weights_only=True)
    for name, state in checkpoint["callbacks"].items():
        if "BestCheckpoint" in name:
            good = torch.tensor(1.0)
            state |= {"best_model_score": good, "current_score": good, "kth_value": good}
            state["best_k_models"] = {str(best): good}
    torch.save(checkpoint, best)
    before = best.read_bytes()
    assert main(["fit", "--resume", str(folder), "--trainer.max_epochs=2"]) == 0
    assert best.read_bytes() == before


def test_without_a_bar_the_clock_runs_all_the_same(tmp_path):
    words = ["--trainer.max_steps=2", "--trainer.enable_progress_bar=false", "--trainer.callbacks=[]", "--wandb=false"]
    assert main(["fit", "--config", CONFIG, *words, f"--runs={tmp_path}"]) == 0
    (summary,) = tmp_path.glob("*/*/summary.json")
    assert json.loads(summary.read_text())["images_per_second"] > 0


def test_ckpt_path_last_finds_the_newest_run_of_the_name(tmp_path):
    arguments = ["fit", "--config", CONFIG, *SHORT, f"--runs={tmp_path}", "--trainer.callbacks=[]"]
    assert main(arguments) == 0
    assert main([*arguments, "--ckpt_path=last", "--trainer.max_epochs=3"]) == 0
    (folder,) = tmp_path.glob("vae_digits/*")
    assert json.loads((folder / "summary.json").read_text())["epochs"] == 3


@pytest.mark.parametrize("out", ["grid.png", "folder", "samples.npz"])
def test_sample_writes_each_format(run, tmp_path, out):
    assert main(["sample", "--ckpt", str(run), "--num", "5", "--out", str(tmp_path / out)]) == 0
    if out == "folder":
        pictures = sorted((tmp_path / out).iterdir())
        assert [path.name for path in pictures] == [f"{number:06d}.png" for number in range(5)]
        assert all(Image.open(path).size == (8, 8) for path in pictures)
    elif out.endswith("npz"):
        samples = np.load(tmp_path / out)["samples"]
        assert samples.shape == (5, 1, 8, 8)
        assert samples.min() >= 0
        assert samples.max() <= 1
    else:
        assert Image.open(tmp_path / out).size[0] >= 3 * 8


def test_sample_is_determined_by_its_seed(run, tmp_path):
    def draw(seed: int, name: str) -> np.ndarray:
        out = tmp_path / f"{name}.npz"
        assert main(["sample", "--ckpt", str(run), "--num", "3", "--seed", str(seed), "--out", str(out)]) == 0
        return np.load(out)["samples"]

    assert np.array_equal(draw(1, "a"), draw(1, "b"))
    assert not np.array_equal(draw(1, "c"), draw(2, "d"))


def test_checkpoint_alone_is_enough_to_sample(run, tmp_path):
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    assert main(["sample", "--ckpt", str(alone), "--num", "2", "--out", str(tmp_path / "alone.png")]) == 0


def test_checkpoint_named_by_its_path_begins_a_run_of_its_own(run, tmp_path):
    before = (run / "config.yaml").read_text(), (run / "metrics.csv").read_text()
    start = ["fit", "--config", CONFIG, *SHORT, f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}", "--name=other"]
    assert main([*start, f"--runs={tmp_path}", "--trainer.max_epochs=5"]) == 0
    (other,) = tmp_path.glob("other/*")
    assert (other / "checkpoints" / "best.ckpt").is_file()
    assert ((run / "config.yaml").read_text(), (run / "metrics.csv").read_text()) == before


def test_moved_run_keeps_its_best_checkpoint(tmp_path):
    arguments = ["fit", "--config", CONFIG, *SHORT, "--trainer.callbacks=[]", f"--runs={tmp_path / 'runs'}"]
    assert main(arguments) == 0
    (run,) = (tmp_path / "runs").glob("vae_digits/*")
    moved = run.rename(tmp_path / "moved")
    best = (moved / "checkpoints" / "best.ckpt").read_bytes()
    last = torch.load(moved / "checkpoints" / "last.ckpt", weights_only=True)
    (state,) = (state for state in last["callbacks"].values() if state.get("monitor") == "val/loss")
    unbeatable = torch.tensor(-1000.0)
    state.update(best_model_score=unbeatable, best_k_models={path: unbeatable for path in state["best_k_models"]})
    torch.save(last, moved / "checkpoints" / "last.ckpt")
    assert main(["fit", "--resume", str(moved), "--trainer.max_epochs=3"]) == 0
    assert (moved / "checkpoints" / "best.ckpt").read_bytes() == best
