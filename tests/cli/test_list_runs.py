"""``lit-gen list runs``."""

import json
import re
import subprocess
import sys
import time

import pytest

from lit_gen.cli import list_runs, run_state
from lit_gen.cli.main import main

HEAVY = ("torch", "lightning", "jsonargparse", "wandb", "numpy")
CONFIG = "seed_everything: 0\nname: vae_digits\nmonitor: val/loss\ntrainer: {max_epochs: 3}\n"


def make(root, name="vae_digits/20260102-030405-0a1b", config=CONFIG, overrides=None, figures=None, rows=()):
    folder = root / name
    folder.mkdir(parents=True)
    if config is not None:
        (folder / "config.yaml").write_text(config)
    run_state.write(folder, "fit", overrides or {})
    if rows:
        (folder / "metrics.csv").write_text("step,epoch,time,val/loss\n" + "\n".join(rows) + "\n")
    if figures is not None:
        (folder / "summary.json").write_text(json.dumps({"figures": figures}))
    return folder


@pytest.fixture
def listed(capsys, tmp_path):
    def listed(*words: str) -> str:
        capsys.readouterr()
        assert main(["list", "runs", f"--runs={tmp_path}", *words]) == 0
        return capsys.readouterr().out

    return listed


def test_a_run_says_what_it_changed_its_state_its_metrics_and_its_age(tmp_path, listed):
    make(
        tmp_path,
        overrides={"model.beta": "4", "trainer.max_epochs": "3"},
        figures={"test/nll_nats_k500": 22.8, "test/nll_nats_k500_se": 0.1, "test/loss": 23.5},
        rows=["9,0,1.0,30.5", "19,1,2.0,24.25", "29,2,3.0,25.0"],
    )
    told = listed()
    header, row, changed, metrics = told.splitlines()
    assert header.split() == ["RUN", "STATE", "AGE"]
    assert row.split()[:2] == ["vae_digits/20260102-030405-0a1b", "finished"]
    assert re.fullmatch(r"\d+ s", row[73:])
    assert changed.split() == ["model.beta=4", "trainer.max_epochs=3"]
    assert metrics.split("  ")[1:] == ["val/loss 24.25", "test/nll_nats_k500 22.8", "test/loss 23.5"]


def test_newest_first_and_at_most_80_columns(tmp_path, listed):
    for day in (11, 13, 12):
        make(
            tmp_path,
            f"run{day}/202601{day}-030405-0a1b-beta=4-and_more=12345678901234567890",
            overrides={f"model.part_{k}.some_argument": "x" * 50 for k in range(5)},
            figures={f"test/some_long_metric_{k}": 1 / 3 for k in range(9)},
        )
    make(tmp_path, "named/by_hand")
    lines = listed().splitlines()
    assert [line.split("/")[0] for line in lines if re.match(r"\w+/", line)] == ["run13", "run12", "run11", "named"]
    assert max(map(len, lines)) <= 80


def test_only_so_many_and_only_of_one_name(tmp_path, listed):
    for k in range(5):
        make(tmp_path, f"a/2026010{k + 1}-000000-0000")
    make(tmp_path, "b/20260101-000000-0000")
    told = listed("--num=2")
    assert told.count("running") == 2 and "and 4 older: --num=6 lists all" in told
    assert listed("b").count("running") == 1 and "a/" not in listed("b")


def test_a_run_under_way_says_how_far_it_is_and_its_best_so_far(tmp_path, listed):
    make(tmp_path, rows=["9,0,1.0,30.5", "19,1,2.0,"])
    told = listed()
    assert "running" in told and "epoch 2, step 20  val/loss 30.5" in told


def test_a_failed_run_says_why(tmp_path, listed):
    run_state.note_failure(make(tmp_path), RuntimeError("the loss is NaN"))
    told = listed()
    assert "failed" in told and "RuntimeError: the loss is NaN" in told


def test_a_staged_run_is_one_row(tmp_path, listed):
    config = "name: stack\nstages:\n- {name: rbm_1}\n- {name: fine_tuned, monitor: val/squared_error}\n"
    folder = make(tmp_path, "stack/20260101-000000-0000", config)
    for number, name in ((1, "rbm_1"), (2, "fine_tuned"), (10, "last")):
        make(folder / "stages", f"{number}_{name}", rows=[f"{number},0,1.0,30.5"])
    told = listed()
    assert told.count("running") == 1
    assert "stage last, epoch 1, step 11" in told


def test_an_empty_folder_of_runs(listed):
    assert "no runs in" in listed()


DAMAGES = {
    "no config": lambda folder: (folder / "config.yaml").unlink(),
    "config": lambda folder: (folder / "config.yaml").write_text("a: [\n"),
    "config of another kind": lambda folder: (folder / "config.yaml").write_text("- 1\n"),
    "binary config": lambda folder: (folder / "config.yaml").write_bytes(b"\xff\x00\x80"),
    "key that stands twice": lambda folder: (folder / "config.yaml").write_text("a: 1\na: 2\n"),
    "torn summary": lambda folder: (folder / "summary.json").write_text('{"figures": {"a'),
    "summary of another kind": lambda folder: (folder / "summary.json").write_text("[1]"),
    "folder for a summary": lambda folder: (folder / "summary.json").mkdir(),
    "torn record": lambda folder: (folder / "run.json").write_text('{"verb"'),
    "binary metrics": lambda folder: (folder / "metrics.csv").write_bytes(b"\xff\xfe\x00\n\x80"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_shown_as_such_and_hides_no_other(tmp_path, listed, damage):
    DAMAGES[damage](make(tmp_path))
    make(tmp_path, "other/20260101-000000-0000", figures={"test/loss": 1.5})
    told = listed()
    assert told.count("damaged:") == 1
    assert "test/loss 1.5" in told


@pytest.mark.parametrize(
    "figures",
    [[], {"a": "b"}, {"a": None}, {"test/a": float("nan")}, None],
    ids=["list", "words", "null", "nan", "none"],
)
def test_odd_metrics_are_no_damage(tmp_path, listed, figures):
    folder = make(tmp_path)
    (folder / "summary.json").write_text(json.dumps({"figures": figures}))
    assert "finished" in listed()


def test_an_odd_record_is_survived(tmp_path, listed):
    folder = make(tmp_path)
    (folder / "run.json").write_text(json.dumps({"overrides": [1], "began": "x", "verb": 3, "error": {}}))
    assert "failed" in listed()


@pytest.mark.parametrize(("seconds", "told"), [(5, "5 s"), (65, "1 min"), (7300, "2 h"), (200000, "2 d"), (-50, "0 s")])
def test_age_in_one_unit(tmp_path, seconds, told):
    folder = make(tmp_path)
    began = run_state.read(folder)["began"]
    assert list_runs.age_of(folder, began + seconds) == told
    (folder / "run.json").unlink()
    began = time.mktime(time.strptime("20260102-030405", "%Y%m%d-%H%M%S"))
    assert list_runs.age_of(folder, began + seconds) == told


def test_it_reads_files_only(tmp_path):
    make(tmp_path, figures={"test/loss": 1.5})
    code = (
        f"import sys; from lit_gen.cli.main import main; main(['list', 'runs', '--runs={tmp_path}'])\n"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "test/loss 1.5" in done.stdout and "HEAVY []" in done.stdout
