"""Every sweep is valid, and the command lines that W&B's agent makes of it run."""

import csv
import itertools
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lit_gen.cli.main import main

SWEEPS = sorted(Path("sweeps").glob("*.yaml"))
KEYS = {"program", "command", "method", "metric", "parameters", "run_cap", "name", "description", "early_terminate"}
METHODS = ["grid", "random", "bayes"]


def read(sweep: Path) -> dict:
    return yaml.safe_load(sweep.read_text())


def draws(parameters: dict, method: str, count: int) -> list[dict]:
    """Values that W&B's search would try. What bayes proposes lies in the same space as what random draws."""
    if method == "grid":
        lists = [space.get("values", [space.get("value")]) for space in parameters.values()]
        return [
            dict(zip(parameters, values, strict=True)) for values in itertools.islice(itertools.product(*lists), count)
        ]
    generator = random.Random(0)
    return [{name: draw(space, generator) for name, space in parameters.items()} for _ in range(count)]


def draw(space: dict, generator: random.Random):
    if "value" in space:
        return space["value"]
    if "values" in space:
        return generator.choice(space["values"])
    low, high = space["min"], space["max"]
    kind = space.get("distribution", "uniform" if isinstance(low, float) else "int_uniform")
    if kind == "int_uniform":
        return generator.randint(low, high)
    if kind == "uniform":
        return generator.uniform(low, high)
    assert kind == "log_uniform_values", f"this test can't draw from {kind} yet"
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def agent_command(sweep: dict, values: dict) -> list[str]:
    """The words that W&B's agent starts: its own functions fill in the arguments."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    fill = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    fill |= {"interpreter": ["python"], "program": [sweep["program"]], "env": ["/usr/bin/env"]}
    words = []
    for word in create_sweep_command(list(sweep["command"])):
        # As wandb.wandb_agent.Agent._command_run does it.
        words += fill.get(word[2:-1], []) if word.startswith("${") and word.endswith("}") else [word]
    return words


def methods_of(sweep: Path) -> list[str]:
    """A grid needs lists of values."""
    continuous = any("min" in space for space in read(sweep)["parameters"].values())
    return METHODS[1:] if continuous else METHODS


def test_there_are_sweeps():
    assert {sweep.stem for sweep in SWEEPS} >= {"vae_beta", "gan_learning_rates"}


@pytest.mark.parametrize("sweep", SWEEPS, ids=str)
def test_a_sweep_is_well_formed(sweep):
    first = sweep.read_text().splitlines()[0]
    assert first.startswith("# ") and first.endswith("?"), "the first line is the question"
    config = read(sweep)
    assert set(config) <= KEYS
    assert config["method"] in methods_of(sweep)
    assert config["metric"]["goal"] in ("minimize", "maximize")
    assert config["command"].count("${args}") == 1 and config["program"] == "lit-gen"
    for name, space in config["parameters"].items():
        assert isinstance(name, str) and isinstance(space, dict)
        assert "parameters" not in space, "W&B turns nested parameters into one string; write dotted keys"
        assert ("min" in space and "max" in space) or "values" in space or "value" in space
        values = space.get("values", [space.get("value")])
        assert all(isinstance(value, int | float | str | bool | None) for value in values)


@pytest.mark.parametrize(("sweep", "method"), [(s, m) for s in SWEEPS for m in methods_of(s)], ids=str)
def test_the_command_lines_of_each_method_set_what_they_say(sweep, method, capsys):
    config = read(sweep)
    for values in draws(config["parameters"], method, 2):
        program, *arguments = agent_command(config, values)
        assert program == "lit-gen"
        try:
            assert main([*arguments, "--print_config"]) == 0
        except SystemExit as end:
            assert not end.code
        resolved = yaml.safe_load(capsys.readouterr().out)
        for name, value in values.items():
            found = resolved
            for part in name.split("."):
                found = found[part]
            assert found == value, name


def test_a_grid_is_tried_whole():
    config = read(Path("sweeps/vae_beta.yaml"))
    lines = {tuple(agent_command(config, values)) for values in draws(config["parameters"], "grid", 1000)}
    assert len(lines) == 18
    start = ("lit-gen", "fit", "--config", "conf/vaes/vae_digits.yaml")
    assert (*start, "--model.init_args.beta=0.1", "--seed_everything=2") in lines


def test_a_misspelt_parameter_is_refused(capsys):
    config = read(Path("sweeps/vae_beta.yaml"))
    assert main([*agent_command(config, {"model.init_args.betta": 2.0})[1:], "--print_config"]) == 2
    assert "beta" in capsys.readouterr().err


TINY = [
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.check_val_every_n_epoch=1",
]


@pytest.mark.parametrize("sweep", SWEEPS, ids=str)
def test_a_command_line_runs_and_logs_the_metric(sweep, tmp_path):
    config = read(sweep)
    (values,) = draws(config["parameters"], config["method"], 1)
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        [*agent_command(config, values), *TINY, f"--runs={tmp_path}"],
        env=os.environ | {"WANDB_MODE": "disabled", "PATH": scripts + os.pathsep + os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("*/*")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert any(row.get(config["metric"]["name"]) for row in rows), "the sweep's metric is logged"
