"""Every config is built and run for two batches of everything, on the CPU."""

import json
from bisect import bisect
from itertools import accumulate
from pathlib import Path

import pytest
import torch
import yaml
from torch.optim import Adam
from torch.optim.lr_scheduler import MultiStepLR

from lit_gen.cli.list_configs import find_configs, title
from lit_gen.cli.main import main

CONFIGS = [config for family in find_configs(Path("conf")).values() for config in family]

FEW_IMAGES = ["--data.batch_size=4", "--data.eval_batch_size=4"]
"""For networks that take a CPU minutes for a batch of their own size."""


def smaller(config: Path) -> list[str]:
    """Arguments under which a CPU tries a config in seconds: few images, and where that isn't enough a narrower net."""
    if config.stem == "sngan_cifar10":
        return FEW_IMAGES
    if config.parent.name != "autoregressive" or config.stem.endswith("digits"):
        return []
    return FEW_IMAGES + (["--model.network.num_filters=16"] if config.stem == "pixelcnnpp_cifar10" else [])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_config_runs_two_batches(config, tmp_path, monkeypatch, data_root):
    monkeypatch.setenv("LIT_GEN_DATA", str(data_root))
    arguments = ["fit", "--config", str(config), "--trainer.fast_dev_run=2", f"--runs={tmp_path}"]
    arguments += smaller(config)
    assert main([*arguments, "--trainer.accelerator=cpu"]) == 0
    (run,) = tmp_path.glob("*/*")
    assert run.parent.name == config.stem
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 2 * len(summary.get("stages", [run]))  # the whole of a staged run
    assert summary["figures"]
    assert (run / "config.yaml").is_file()


def test_debug_trainer_runs_the_whole_road(tmp_path):
    arguments = ["fit", "--config", "conf/vaes/vae_digits.yaml", "--trainer=conf/trainer/debug.yaml"]
    assert main([*arguments, f"--runs={tmp_path}"]) == 0
    (run,) = tmp_path.glob("vae_digits/*")
    assert (run / "metrics.csv").read_text().count("\n") > 1
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert list((run / "samples").glob("*.png"))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_config_says_what_it_is(config):
    lines = config.read_text().splitlines()
    assert "https://" in title(config), "the first line names the source and links to it"
    comments = [line for line in lines if line.startswith("#")]
    assert any(line.startswith("# Expect:") for line in comments)
    assert any("Budget:" in line for line in comments)


def test_there_are_configs_of_each_family():
    assert {config.parent.name for config in CONFIGS} >= {"vaes", "gans", "classifiers"}


@pytest.mark.parametrize("name", ["iwae_mnist_full", "iwae_2layer_mnist"])
def test_the_papers_learning_rates(name):
    """Burda et al. 2016, Section 5: 3^i epochs of batches of 20 at 0.001 * 10^(-i/7), i = 0 to 7."""
    config = yaml.safe_load(Path(f"conf/vaes/{name}.yaml").read_text())
    model, epochs = config["model"]["init_args"], [3**i for i in range(8)]
    assert config["trainer"]["max_epochs"] == sum(epochs) == 3280
    steps_per_epoch = 55_000 // config["data"]["init_args"]["batch_size"]  # 5,000 are held out
    assert steps_per_epoch == 2750
    optimizer = Adam([torch.zeros(1, requires_grad=True)], lr=model["optimizer"]["init_args"]["lr"])
    scheduler = MultiStepLR(optimizer, **model["scheduler"]["init_args"])
    for stage, last in enumerate(accumulate(epochs)):
        for step in (last * steps_per_epoch - 1, last * steps_per_epoch):
            rate = scheduler.base_lrs[0] * scheduler.gamma ** bisect(sorted(scheduler.milestones), step)
            following = min(7, stage + (step == last * steps_per_epoch))
            assert rate == pytest.approx(1e-3 * 10 ** (-following / 7))
