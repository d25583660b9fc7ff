"""Stages in one run folder: what each leaves, what it takes from earlier ones, how a run goes on, what is refused."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from lit_gen.cli import stages, whole_checkpoints
from lit_gen.cli.main import main
from lit_gen.cli.sample import load_model
from lit_gen.cli.stage_cli import StageCLI

RBMS = "conf/autoencoders/rbm_pretrained_digits.yaml"
STACKED = "conf/autoencoders/stacked_digits.yaml"
NAMES = ["1_rbm_1", "2_rbm_2", "3_rbm_3", "4_fine_tuned"]
SHORT = ["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--wandb=false"]

TWO = """
data: {class_path: lit_gen.data.Digits, init_args: {image_shape: [1, 8, 8], batch_size: 50}}
trainer: {max_epochs: 1}
stages:
  - name: one
    model: &model
      class_path: lit_gen.models.classifiers.Classifier
      init_args:
        network:
          class_path: lit_gen.networks.MLP
          init_args: {in_shape: "${data.image_shape}", out_shape: 10, hidden_dims: [12]}
  - name: two
    start_from: one
    model: *model
"""


@pytest.fixture
def two(tmp_path) -> Path:
    """A config of two stages of the same classifier."""
    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run whose last stage still has the weights that it started from."""
    runs = tmp_path_factory.mktemp("runs")
    frozen = "--stages.fine_tuned.model.optimizer.lr=0.0"
    assert main(["fit", "--config", RBMS, *SHORT, frozen, f"--runs={runs}"]) == 0
    (folder,) = runs.glob("rbm_pretrained_digits/*")
    return folder


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def only_run(runs: Path) -> Path:
    (folder,) = runs.glob("*/*")
    return folder


def test_each_stage_has_a_run_folder_of_its_own(run):
    assert sorted(path.name for path in (run / "stages").iterdir()) == NAMES
    for name in NAMES:
        there = {path.name for path in (run / "stages" / name).iterdir()}
        assert there >= {"checkpoints", "config.yaml", "log.txt", "metrics.csv", "summary.json"}
        assert (run / "stages" / name / "checkpoints" / "last.ckpt").is_file()
    assert (run / "stages" / NAMES[3] / "checkpoints" / "best.ckpt").is_file()
    assert {path.name for path in run.iterdir()} == {"config.yaml", "log.txt", "run.json", "stages", "summary.json"}


def test_summary_has_every_stage_and_the_last_one_as_its_own(run):
    whole = summary(run)
    for name in NAMES:
        for figure, value in summary(run / "stages" / name)["figures"].items():
            assert whole["figures"][f"{name[2:]}/{figure}"] == value
    last = summary(run / "stages" / NAMES[3])
    assert last["figures"].items() <= whole["figures"].items()
    assert len(whole["figures"]) == len(last["figures"]) + sum(
        len(summary(run / "stages" / name)["figures"]) for name in NAMES
    )
    assert (last["steps"], last["epochs"]) == (22, 1)
    assert (whole["steps"], whole["epochs"]) == (4 * 22, 4), "totals of all stages"
    assert list(whole["stages"]) == [name[2:] for name in NAMES]
    assert whole["stages"]["rbm_2"]["started_from"] == {
        "below.encoder.layers.0.weight": "rbm_1.encoder.weight",
        "below.encoder.layers.0.bias": "rbm_1.encoder.bias",
        "below.decoder.layers.0.weight": "rbm_1.decoder.weight",
        "below.decoder.layers.0.bias": "rbm_1.decoder.bias",
    }


def test_weights_are_those_of_the_earlier_stages(run):
    state = torch.load(run / "stages" / NAMES[3] / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    given = [load_model(run / "stages" / name / "checkpoints" / "last.ckpt").hand_on() for name in NAMES[:3]]
    for part, order in (("encoder", given), ("decoder", given[::-1])):
        for layer, handed_on in enumerate(order):
            for kind in ("weight", "bias"):
                assert torch.equal(state[f"{part}.layers.{2 * layer}.{kind}"], handed_on[f"{part}.{kind}"])
    assert len(state) == 12


def test_config_of_the_run_makes_the_same_run(run, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert [item["name"] for item in config["stages"]] == [name[2:] for name in NAMES]
    assert "in_shape: ${data.image_shape}  # [1, 8, 8]\n" in (run / "config.yaml").read_text()
    assert "data" in config
    assert all("data" not in item for item in config["stages"]), "what all stages share stands once"
    assert main(["fit", "--config", str(run / "config.yaml"), f"--runs={tmp_path}"]) == 0
    assert summary(only_run(tmp_path))["figures"] == summary(run)["figures"]


def test_a_runs_own_config_is_changed_and_run_again(two, tmp_path):
    config = two
    for runs, words in (("first", []), ("second", ["--data.image_shape=[1,16,16]"]), ("third", [])):
        assert main(["fit", "--config", str(config), *SHORT, *words, f"--runs={tmp_path / runs}"]) == 0
        changed = only_run(tmp_path / runs)
        config = changed / "config.yaml"
        side = 8 if runs == "first" else 16
        assert config.read_text().count(f"in_shape: ${{data.image_shape}}  # [1, {side}, {side}]\n") == 1, (
            "it is shared"
        )
        for stage in ("1_one", "2_two"):
            state = torch.load(changed / "stages" / stage / "checkpoints" / "last.ckpt", weights_only=True)[
                "state_dict"
            ]
            assert {tensor.shape[1] for tensor in state.values() if tensor.dim() == 2} == {side * side, 12}


def test_config_of_a_stage_is_that_of_a_run_from_scratch(run, tmp_path):
    config = run / "stages" / NAMES[3] / "config.yaml"
    assert "encoder.layers.2 starts from rbm_2.encoder" in config.read_text()
    assert main(["fit", "--config", str(config), f"--runs={tmp_path}", "--wandb=false"]) == 0
    name = "test/squared_error"
    assert summary(only_run(tmp_path))["figures"][name] != summary(run)["figures"][name]


def test_other_verbs_mean_the_last_stage(run, tmp_path, capsys):
    last = summary(run)["figures"]["fine_tuned/test/squared_error"]
    for config in (run / "config.yaml", run / "stages" / NAMES[3] / "config.yaml"):
        runs = tmp_path / config.parent.name
        assert main(["test", "--config", str(config), f"--ckpt_path={run}", f"--runs={runs}", "--wandb=false"]) == 0
        assert summary(only_run(runs))["figures"]["test/squared_error"] == pytest.approx(last, rel=1e-6)
    capsys.readouterr()
    assert main(["sample", "--ckpt", str(run), "--out", str(tmp_path / "x.npz")]) == 2
    assert "Autoencoder cannot be sampled" in capsys.readouterr().err
    first = run / "stages" / NAMES[0]
    assert main(["sample", "--ckpt", str(first), "--num", "2", "--out", str(tmp_path / "x.npz")]) == 0


def test_print_config_is_a_whole_config(capsys, tmp_path):
    assert main(["fit", "--config", RBMS, "--trainer.max_epochs=3", "--print_config"]) == 0
    told = capsys.readouterr().out
    config = tmp_path / "printed.yaml"
    config.write_text(told)
    assert main(["fit", "--config", str(config), "--print_config"]) == 0
    again = capsys.readouterr().out
    # jsonargparse writes out the empty arguments of a class that it has read.
    assert [line for line in again.splitlines() if line.strip() != "init_args: {}"] == told.splitlines()
    printed = yaml.safe_load(told)
    assert all({**printed, **stage}["trainer"]["max_epochs"] == 3 for stage in printed["stages"])
    assert printed["name"] == "rbm_pretrained_digits"
    assert not (Path("runs") / "rbm_pretrained_digits").exists()


def test_fast_dev_run_hands_on_what_is_at_hand(two, tmp_path):
    still = ["--trainer.fast_dev_run=2", "--stages.two.model.optimizer.lr=0.0"]
    assert main(["fit", "--config", str(two), *still, f"--runs={tmp_path / 'runs'}"]) == 0
    run = only_run(tmp_path / "runs")
    assert not list(run.glob("**/*.ckpt"))
    figures = summary(run)["figures"]
    assert summary(run)["steps"] == 2 + 2
    assert figures["two/test/loss"] == figures["one/test/loss"]


def test_the_best_checkpoint_is_handed_on_where_one_was_chosen(two, tmp_path):
    # By the least accuracy, which is that of the first epoch.
    worse = ["--stages.one.monitor=val/accuracy", "--trainer.max_epochs=3"]
    still = ["--stages.two.model.optimizer.lr=0.0", "--wandb=false", f"--runs={tmp_path / 'runs'}"]
    assert main(["fit", "--config", str(two), *worse, *still]) == 0
    run = only_run(tmp_path / "runs")
    one, two_ = (run / "stages" / name / "checkpoints" for name in ("1_one", "2_two"))
    best, last, begun = (
        torch.load(path, weights_only=True)["state_dict"]
        for path in (one / "best.ckpt", one / "last.ckpt", two_ / "last.ckpt")
    )
    assert any(not torch.equal(best[name], last[name]) for name in best), "chosen before the last epoch"
    assert all(torch.equal(best[name], begun[name]) for name in best)


def test_stage_without_a_checkpoint_is_trained_again(two, tmp_path, capsys):
    arguments = ["fit", "--config", str(two), "--wandb=false", f"--runs={tmp_path / 'runs'}"]
    assert main([*arguments, "--stages.one.trainer.enable_checkpointing=false"]) == 0
    run = only_run(tmp_path / "runs")
    figures = summary(run)["figures"]
    assert figures["two/test/loss"] < figures["one/test/loss"], "handed on in memory"
    capsys.readouterr()
    (run / "stages" / "2_two" / "checkpoints" / "last.ckpt").unlink()
    assert main(["fit", "--resume", str(run)]) == 0
    assert "finished before" not in capsys.readouterr().out
    assert summary(run)["figures"] == figures


def test_finished_stages_are_left_alone_and_the_last_one_goes_on(two, tmp_path, capsys):
    arguments = ["fit", "--config", str(two), "--wandb=false", f"--runs={tmp_path / 'runs'}"]
    assert main(arguments) == 0
    run = only_run(tmp_path / "runs")
    before = {path: path.stat().st_mtime_ns for path in (run / "stages" / "1_one").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["fit", "--resume", str(run), "--stages.two.trainer.max_epochs=3"]) == 0
    assert "stage 1 of 2, one: finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert summary(run / "stages" / "2_two")["epochs"] == 3
    assert summary(run)["epochs"] == 1 + 3
    assert summary(run)["stages"]["one"]["epochs"] == 1
    assert main([*arguments, "--ckpt_path=last", "--trainer.max_epochs=4"]) == 0
    assert only_run(tmp_path / "runs") == run
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert [item["trainer"]["max_epochs"] for item in stored["stages"]] == [1, 4]
    capsys.readouterr()
    assert main(["fit", "--resume", str(run), "--stages.one.trainer.max_epochs=3"]) == 2
    assert "that stage is finished" in capsys.readouterr().err


def test_newest_run_without_stages_is_left_alone(two, tmp_path, capsys):
    """A stage's own config makes runs of the same name."""
    runs = ["--wandb=false", f"--runs={tmp_path / 'runs'}"]
    assert main(["fit", "--config", str(two), *runs]) == 0
    alone = only_run(tmp_path / "runs") / "stages" / "2_two" / "config.yaml"
    assert main(["fit", "--config", str(alone), *runs]) == 0
    (plain,) = (path for path in (tmp_path / "runs" / "two").iterdir() if (path / "checkpoints").is_dir())
    plain = plain.rename(plain.with_name("99999999"))
    before = {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["fit", "--config", str(two), *runs, "--ckpt_path=last"]) == 2
    told = capsys.readouterr().err
    assert "99999999, the newest run of this name, has no stages" in told
    assert told.count("\n") == 1
    assert {path: path.read_bytes() for path in plain.rglob("*") if path.is_file()} == before


def test_stage_killed_before_its_first_checkpoint_begins_anew(two, tmp_path):
    assert main(["fit", "--config", str(two), "--wandb=false", f"--runs={tmp_path / 'runs'}"]) == 0
    run = only_run(tmp_path / "runs")
    whole = summary(run)["figures"]
    second = run / "stages" / "2_two"
    for path in [*(second / "checkpoints").iterdir(), second / "summary.json", run / "summary.json"]:
        path.unlink()
    (second / "metrics.csv").write_text("step,epoch,time,train/loss\n5,0,1.0,99.0\n")
    assert main(["fit", "--resume", str(run)]) == 0
    assert summary(run)["figures"] == whole
    assert "99.0" not in (second / "metrics.csv").read_text()


def test_run_that_has_not_come_to_its_last_stage(two, tmp_path, capsys):
    assert main(["fit", "--config", str(two), "--wandb=false", f"--runs={tmp_path / 'runs'}"]) == 0
    run = only_run(tmp_path / "runs")
    (run / "stages" / "2_two").rename(tmp_path / "away")
    capsys.readouterr()
    assert main(["sample", "--ckpt", str(run)]) == 2
    told = capsys.readouterr().err
    assert "has not come to its last stage, '2_two', yet" in told
    assert told.count("\n") == 1


def test_wandb_run_of_a_stage_is_named_after_both(two, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    (_, stage) = stages.read(["--config", str(two), f"--runs={tmp_path}"])
    run = tmp_path / "two" / "20260101-000000-abcd"
    cli = StageCLI(stage, 2, run)
    cli.record.close()
    logger = cli.trainer.loggers[1]
    assert logger._wandb_init["name"] == "two/20260101-000000-abcd/two"
    assert logger._wandb_init["id"] == "20260101-000000-abcd-two"
    assert Path(logger.save_dir) == run / "stages" / "2_two"


def test_every_stage_lowers_the_error_of_the_composed_net(tmp_path):
    """And the whole net, at its start, is the composition of the shallow ones."""
    short = ["--trainer.max_epochs=10", "--model.optimizer.lr=0.01", "--trainer.callbacks=[]", "--wandb=false"]
    arguments = ["--config", STACKED, *short, f"--runs={tmp_path}"]
    assert main(["fit", *arguments]) == 0
    run = only_run(tmp_path)
    ends = summary(run)["figures"]
    starts = {}
    for stage in stages.read(arguments):
        # Built as for the run, and given what its summary says that it was given.
        cli = StageCLI(stage, 4, None)
        taken = {}
        for target, source in summary(run)["stages"][stage.name]["started_from"].items():
            giver, name = source.split(".", 1)
            taken[target] = load_model(whole_checkpoints.find(run / summary(run)["stages"][giver]["folder"])).hand_on()[
                name
            ]
        cli.model.load_state_dict(taken, strict=False)
        (batch,) = cli.datamodule.test_dataloader()
        with torch.no_grad():
            error = batch.x - cli.model.decode(cli.model.encode(batch.x))
        starts[stage.name] = error.square().sum().item() / len(batch.x)
    for name, start in starts.items():
        assert ends[f"{name}/test/squared_error"] < 0.8 * start, name
    assert starts["whole"] == pytest.approx(ends["shallow_3/test/squared_error"], rel=1e-5)


# Mistakes: one line, exit status 2, and nothing left behind.

ONE_LINE = {
    "--stages.rbm_1.model.hidden.shape=90": (
        "stage 'rbm_2': below.encoder.layers.0.weight is (100, 64), but rbm_1 hands on encoder.weight of (90, 64)"
    ),
    "--stages.rbm_2.model.visible.shape=90": "stage 'rbm_2': the visible units have shape (90,), but the codes of",
    "--stages.fine_tuned.model.encoder.out_shape=9": (
        "stage 'fine_tuned': encoder.layers.4.weight is (9, 50), but rbm_3 hands on encoder.weight of (10, 50)"
    ),
    "--stages.rbm_2.model.hiden.shape=50": "stage 'rbm_2': there is no key",
    "--stages.rbm_2.trainer.max_epoch=5": "the nearest right one is 'trainer.max_epochs'",
    "--stages.rbm_2.trainer.max_epochs=many": "stage 'rbm_2': trainer.max_epochs",
    "--stages.rbm_3.model.num_gibbs_steps=0": "stage 'rbm_3': model: an RBM's num_gibbs_steps must be at least 1",
    "--stages.rbm_3.data.image_shape=[1,16,16]": "stage 'rbm_3': below.encoder.layers.0.weight is (100, 256), but",
    "--stages.rbm_4.model.hidden.shape=50": "there is no stage 'rbm_4'; the nearest is 'rbm_",
    "--ckpt_path=best": "a run with stages goes on with --resume RUN or --ckpt_path=last",
    "--stages.rbm_2.trainer.devices=2": "all stages of a run need the same number of processes, but 'rbm_1' asks for 1",
}


@pytest.fixture
def refused(tmp_path, capsys):
    """Run ``fit``; the one line it refuses with, having left nothing."""

    def refused(config: str | Path, *arguments: str) -> str:
        runs = tmp_path / "runs"
        assert main(["fit", "--config", str(config), f"--runs={runs}", "--trainer.accelerator=cpu", *arguments]) == 2
        told = capsys.readouterr()
        assert told.err.startswith("lit-gen: error: ")
        assert told.err.count("\n") == 1
        assert "Traceback" not in told.err
        assert len(told.err) < 300
        assert "stage 1" not in told.out, "refused before anything trains"
        assert not list(runs.glob("*/*")), "a refused run leaves no folder"
        return told.err

    return refused


LABELS = "conf/classifiers/few_labels_digits.yaml"
OF_THE_DATA = {
    "--stages.fine_tuned.data.num_labels=7": "stage 'fine_tuned': num_labels 7 is fewer than the 10 classes",
    "--stages.fine_tuned.data.batch_size=50": "stage 'fine_tuned': batch_size 50 is more than the 20 training examples",
}


@pytest.mark.parametrize("argument", OF_THE_DATA)
def test_what_a_later_stages_data_cannot_be(refused, argument):
    assert OF_THE_DATA[argument] in refused(LABELS, argument)


@pytest.mark.parametrize("argument", ONE_LINE)
def test_mistakes_in_a_stage(refused, argument):
    assert ONE_LINE[argument] in refused(RBMS, argument)


FILES = {
    "unknown stage": ("start_from: one", "start_from: {network: oen.network}", "starts from 'oen', which is no stage"),
    "itself": ("start_from: one", "start_from: two", "cannot start from 'two': it is not an earlier stage"),
    "no stages": ("stages:\n", "stages: []\nx:\n", "the list of stages is empty"),
    "same name": ("name: two", "name: one", "two stages are named 'one'"),
    "no model": ("    model: *model\n", "", "stage 'two': the following arguments are required: model"),
    "key": ("    model: *model\n", "    model: *model\n    modle: 3\n", "stage 'two': there is no key 'modle'"),
    "no data": ('in_shape: "${data.image_shape}"', "in_shape: 64", "stage 'one': no data: name a data module"),
    "later": (
        "  - name: one\n",
        "  - name: one\n    start_from: two\n",
        "cannot start from 'two': it is not an earlier stage",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_mistakes_in_the_file(refused, two, case):
    old, new, told = FILES[case]
    assert old in TWO
    text = TWO.replace(old, new, 1)
    two.write_text(text.replace("data: {", "# ", 1) if case == "no data" else text)
    assert told in refused(two)


def test_run_refused_in_its_first_fit_leaves_no_folder(two, tmp_path, capsys):
    callback = "--trainer.callbacks=[{class_path: lit_gen.callbacks.Reconstructions}]"
    assert main(["fit", "--config", str(two), callback, "--wandb=false", f"--runs={tmp_path / 'runs'}"]) == 2
    assert "stage 'one': Reconstructions needs a model with encode(x)" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/*"))
