import json
import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from lightning.pytorch.utilities import rank_zero_only

from lit_gen.loggers.wandb import WandbRun, chosen_mode, is_logged_in

RUN = """
import json, sys, time, warnings
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from lit_gen.loggers.wandb import WandbRun

class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
    def training_step(self, batch, batch_idx):
        self.log("train/loss", self.weight.sum() + batch_idx)
        return self.weight.sum()
    def on_train_end(self):
        for logger in self.trainer.loggers:
            logger.log_image(key="samples", images=[Image.new("L", (8, 8))], step=4)
    def test_step(self, batch, batch_idx):
        self.log("test/loss", 1.5)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

told = {"wandb at first": "wandb" in sys.modules}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    logger = WandbRun(sys.argv[1], project="tests")
    told["wandb with the logger"] = "wandb" in sys.modules
    begin = time.perf_counter()
    logger.log_hyperparams({"model": {"beta": 4.0}})
    told["begin"] = time.perf_counter() - begin
    trainer = Trainer(accelerator="cpu", logger=logger, max_epochs=1, log_every_n_steps=1, enable_progress_bar=False,
                      enable_checkpointing=False, enable_model_summary=False, default_root_dir=sys.argv[1])
    loader = torch.utils.data.DataLoader(torch.zeros(4, 1))
    trainer.fit(Model(), loader)
    trainer.test(Model(), loader, verbose=False)
    told["weights"] = trainer.global_step
    begin = time.perf_counter()
    logger.finish()
    told["finish"] = time.perf_counter() - begin
    told["warnings"] = [str(w.message) for w in caught if "W&B" in str(w.message) or "wandb" in w.filename]
told["end"] = time.time()
print("TOLD", json.dumps(told))
"""


def run(folder, home, **environment) -> tuple[dict, str]:
    """Fit and test in a process of its own, whose user has never heard of W&B; what it told, and what was printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    inherited |= {"HOME": str(home), "WANDB_CONFIG_DIR": str(home / "config"), "WANDB_CACHE_DIR": str(home / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder)],
        env=inherited | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=180,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    end = time.time()
    told = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    printed = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("TOLD ")]
    told = json.loads(told[0][5:])
    told["exit"] = end - told["end"]
    return told, "\n".join(printed)


def kept(folder) -> list[bytes]:
    """W&B's records of each run that was begun in the run folder; strings stand in them as they are."""
    return [file.read_bytes() for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def test_without_a_login_everything_is_logged_offline_in_the_run_folder_and_a_resumed_run_keeps_its_id(tmp_path):
    folder = tmp_path / "runs" / "vae" / "20260101-000000-ab12"
    told, printed = run(folder, tmp_path)
    assert told["warnings"] == []
    assert told["wandb at first"] is told["wandb with the logger"] is False, "its import costs a second"
    assert told["begin"] + told["finish"] < 20
    assert "wandb" not in printed, printed
    assert not (tmp_path / "wandb").exists() and not (folder.parent / "wandb").exists()
    (records,) = kept(folder)
    for held in (b"20260101-000000-ab12", b"train/loss", b"test/loss", b"samples", b'{"beta":4.0}'):
        assert held in records, held
    assert len(list(folder.glob("wandb/offline-run-*/files/media/images/*.png"))) == 1
    time.sleep(1)  # W&B names its folders after the second
    told, _ = run(folder, tmp_path)
    assert told["warnings"] == []
    assert [b"20260101-000000-ab12" in records for records in kept(folder)] == [True, True]


KEY = "a" * 40


def test_a_server_that_refuses_costs_one_warning_and_some_seconds(tmp_path):
    told, printed = run(tmp_path / "run", tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9")
    assert len(told["warnings"]) == 1 and "can't be reached" in told["warnings"][0]
    assert told["begin"] + told["finish"] + told["exit"] < 30
    assert len(list((tmp_path / "run").glob("wandb/offline-run-*"))) == 1
    assert "Traceback" not in printed


def test_a_server_that_never_answers_costs_no_more(tmp_path):
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: [held.append(server.accept()) for _ in range(99)], daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        told, _ = run(tmp_path / "run", tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=url)
    assert held, "the server was asked"
    assert len(told["warnings"]) == 1
    assert told["begin"] + told["finish"] + told["exit"] < 30


def test_disabled_means_that_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = WandbRun(tmp_path / "run")
    monkeypatch.setattr(logger, "_begin", lambda: pytest.fail("a run was begun"))
    logger.experiment.log({"a": 1.0})
    logger.log_metrics({"a": 1.0}, step=0)
    logger.log_hyperparams({"a": 1.0})
    logger.finish()
    assert not (tmp_path / "run").exists()


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("WANDB"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return SimpleNamespace(mode="online", api_key=None, base_url="https://api.wandb.ai")


def test_a_key_or_a_login_for_the_server_makes_it_online(settings, tmp_path, monkeypatch):
    assert chosen_mode(settings) == "offline"
    (tmp_path / "netrc").write_text(f"machine elsewhere.org login user password {KEY}\n")
    assert not is_logged_in(settings)
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert chosen_mode(settings) == "online"
    settings.base_url = "https://own.server:8080"
    assert chosen_mode(settings) == "offline"
    (tmp_path / "netrc").write_text("this is no netrc file")
    assert chosen_mode(settings) == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert chosen_mode(settings) == "online"


@pytest.mark.parametrize(
    ("asked", "given"), [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled"), ("Online", "online")]
)
def test_the_environment_decides_first(settings, monkeypatch, asked, given):
    settings.api_key = KEY if given != "online" else None
    monkeypatch.setenv("WANDB_MODE", asked)
    assert chosen_mode(settings) == given


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_its_own_settings_decide_before_the_login(settings, mode):
    settings.api_key, settings.mode = KEY, mode
    assert chosen_mode(settings) == mode


def test_a_folder_that_says_what_was_changed_makes_a_legal_id(tmp_path):
    made = WandbRun(tmp_path / "20261128-123218-ab12-beta=4-hidden_dims=100-50")._wandb_init
    assert made["id"] == "20261128-123218-ab12-beta-4-hidden_dims-100-50"


def test_an_empty_mode_is_none(tmp_path, monkeypatch, settings):
    import wandb

    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setattr(wandb, "setup", lambda: pytest.fail("begun") if "WANDB_MODE" in os.environ else Off())
    WandbRun(tmp_path)._begin()


class Off:
    """W&B's settings that say that nothing is to be logged."""

    settings = type("Settings", (), {"mode": "disabled"})()


def test_a_sweep_names_its_runs_itself(settings, monkeypatch, tmp_path):
    assert WandbRun(tmp_path / "a b?")._wandb_init["id"] == "a-b-"
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    sweeping = WandbRun(tmp_path / "a b?")._wandb_init
    assert sweeping["id"] is None and sweeping["project"] == "mine"


class Broken:
    """A run whose every method fails."""

    config = property(lambda self: self.fail())

    def fail(self, *args, **kwargs):
        raise ConnectionError("the service is gone")

    log = finish = fail


@pytest.mark.parametrize(
    "call",
    [
        lambda logger: logger.log_metrics({"a": 1.0}, step=0),
        lambda logger: logger.log_hyperparams({"a": 1.0}),
        lambda logger: logger.log_image("a", ["no such file.png"], step=0),
        lambda logger: logger.finalize("failed"),
    ],
)
def test_the_first_failure_is_told_and_nothing_more_is_tried(tmp_path, call, settings):
    logger = WandbRun(tmp_path)
    logger._experiment = Broken()
    with pytest.warns(UserWarning, match="W&B failed") as told:
        for _ in range(3):
            call(logger)
        logger.log_metrics({"a": 1.0}, step=0)
        logger.finish()
    assert len(told) == 1


def test_other_ranks_begin_no_run(tmp_path, monkeypatch, settings):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = WandbRun(tmp_path)
    monkeypatch.setattr(logger, "_begin", lambda: pytest.fail("a run was begun"))
    logger.experiment.log({"a": 1.0})
    logger.log_metrics({"a": 1.0})
    logger.log_image("a", [], step=0)
    logger.finalize("failed")
