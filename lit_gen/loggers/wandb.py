"""Weights & Biases, which may help a run but never harm it."""

import netrc
import os
import re
import socket
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.fabric.loggers.logger import _DummyExperiment as NoRun
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

BEGIN_SECONDS, END_SECONDS = 10, 15
"""How long to wait for the server when the run begins, and when it ends."""

CONNECT_SECONDS = 3

ITS_OWN_SERVERS = {"api.wandb.ai", "api.forge.coreweave.com"}
"""Two names of one service: a login at either holds for both."""


class WandbRun(WandbLogger):
    """Logs figures, pictures and the config to W&B; offline unless the user is logged in.

    ``WANDB_MODE`` (online, offline, disabled) and W&B's own settings come first. Otherwise the run is online if there
    is a key or a login for the server, which is found out without asking the person or the network. Files lie in the
    run folder, and a run resumed there goes on under its id.

    A server that doesn't answer costs about ``BEGIN_SECONDS``, whereupon the run is logged offline; one that is lost
    later costs ``END_SECONDS`` at the end. What wasn't sent stays on disk for ``wandb sync``. Any other trouble turns
    this logger off. Either is told by one warning.

    Args:
        folder: the run folder; its name is the run's id.
        project: W&B's project, where ``WANDB_PROJECT`` isn't set.
        name: the run's name on W&B; by default the run folder's.
        run_id: the run's id on W&B; by default the run folder's name.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        project: str = "lit-gen",
        name: str | None = None,
        run_id: str | None = None,
    ) -> None:
        folder = Path(folder)
        # W&B's agent names the run of a sweep, and refuses other names.
        run_id = re.sub(r"[^\w.-]", "-", run_id or folder.resolve().name)[:128]
        run_id = None if os.environ.get("WANDB_SWEEP_ID") else run_id
        super().__init__(
            name=name or folder.resolve().name,
            save_dir=folder,
            id=run_id,
            project=os.environ.get("WANDB_PROJECT") or project,
        )
        self._off = os.environ.get("WANDB_MODE", "").lower() == "disabled"

    @property
    def experiment(self) -> Any:
        """W&B's run, begun at the first look; a stand-in that does nothing where there is none."""
        if self._experiment is None and not self._off and rank_zero_only.rank == 0:
            self._try(self._begin)
        return NoRun() if self._experiment is None else self._experiment

    def _begin(self) -> None:
        # Before the import: some of what W&B says doesn't heed the run's settings.
        os.environ.setdefault("WANDB_SILENT", "true")
        # Its reports on itself wait for the server too, after the run's end and twice as long.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if not os.environ.get("WANDB_MODE", "unset"):
            del os.environ["WANDB_MODE"]  # empty means that it isn't set, which W&B refuses
        import wandb

        settings = wandb.setup().settings
        mode = chosen_mode(settings)
        if mode == "disabled":
            self._off = True
            return
        if mode != "offline":
            try:
                reach(settings.base_url)
                self._experiment = self._init(wandb, mode)
                return
            except Exception as error:
                _warn(f"W&B can't be reached ({_short(error)}): this run is logged offline, for 'wandb sync'")
                # Its service holds on to the id of a run that never began.
                wandb.teardown()
        self._experiment = self._init(wandb, "offline")

    def _init(self, wandb: Any, mode: str) -> Any:
        settings = wandb.Settings(
            init_timeout=BEGIN_SECONDS, finish_timeout=END_SECONDS, login_timeout=1, silent=True, console="off"
        )
        Path(self.save_dir).mkdir(parents=True, exist_ok=True)
        run = wandb.init(**self._wandb_init, mode=mode, settings=settings, reinit="create_new")
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return run

    def _try(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            self._off, self._experiment = True, None
            _warn(f"W&B failed ({_short(error)}): nothing more is logged to it, the run goes on")

    def _is_on(self) -> bool:
        return self.experiment is self._experiment

    def whereabouts(self) -> str:
        """Where W&B's record of the run is, in a few words."""
        run = self.experiment
        if run is not self._experiment:
            return "off"
        if getattr(run, "offline", True) or not run.url:
            return "offline, in the run folder's wandb/, for 'wandb sync'"
        return str(run.url)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        if self._is_on():
            self._try(lambda: super(WandbRun, self).log_hyperparams(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        if self._is_on():
            self._try(lambda: super(WandbRun, self).log_metrics(metrics, step))

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        if self._is_on():
            self._try(lambda: super(WandbRun, self).log_image(key, images, step, **kwargs))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """A failed run is closed as failed. Others stay open, as a test may follow; W&B closes them at exit."""
        if status == "failed":
            self.finish(exit_code=1)

    @rank_zero_only
    def finish(self, exit_code: int = 0) -> None:
        """Close the run, waiting for the server no longer than ``END_SECONDS``."""
        if self._experiment is not None:
            run = self._experiment
            self._off, self._experiment = True, None
            self._try(lambda: run.finish(exit_code=exit_code))


def chosen_mode(settings: Any) -> str:
    """Online, offline or disabled.

    Args:
        settings: W&B's own, from its files and the environment.
    """
    asked_for = {"dryrun": "offline", "run": "online"}.get(mode := os.environ.get("WANDB_MODE", "").lower(), mode)
    if asked_for:
        return asked_for
    if settings.mode in ("offline", "disabled", "dryrun"):
        return {"dryrun": "offline"}.get(settings.mode, settings.mode)
    return "online" if is_logged_in(settings) else "offline"


def is_logged_in(settings: Any) -> bool:
    """Whether there is a key, a token or a login for the server that ``settings`` names; asks nobody."""
    if settings.api_key or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    server = urlsplit(settings.base_url).netloc
    servers = ITS_OWN_SERVERS if server in ITS_OWN_SERVERS else {server}
    named = os.environ.get("NETRC")
    for file in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            logins = netrc.netrc(file)
        except (OSError, netrc.NetrcParseError):
            continue
        if any(name in logins.hosts for name in servers):
            return True
    return False


def reach(base_url: str) -> None:
    """Connect to the server, so that a machine without a network learns it at once.

    W&B itself tries again until its time is up. Behind a proxy it is left to find out.

    Raises:
        OSError: if there is no way to the server.
    """
    if urllib.request.getproxies():
        return
    url = urlsplit(base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    socket.create_connection((url.hostname, port), timeout=CONNECT_SECONDS).close()


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
