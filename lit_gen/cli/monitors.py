"""Whether what a run waits for, to choose its best checkpoint or to stop, is ever logged."""

import difflib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from lit_gen.callbacks.intervals import EpochPicture, due, ends_training
from lit_gen.cli.run_record import BestCheckpoint, LastCheckpoint
from lit_gen.cli.screen import say
from lit_gen.errors import UserError


class Monitor(NamedTuple):
    """One that waits for a metric.

    Attributes:
        key: what it is called in the config.
        metric: the metric's name.
        needs_it_now: whether it fails where an epoch doesn't measure the metric.
    """

    key: str
    metric: str
    needs_it_now: bool = False


class MonitorWatch(Callback):
    """Stops a run after its first validation if the metric that something waits for can't come.

    A metric that isn't logged yet may be one of a callback that measures every n epochs only: until each of those that
    might log it has measured once, the run goes on, and says so; pictures, which log nothing, hold up no verdict.
    ``train/…`` metrics may come with the first logged step. Where nothing is validated it is said at the start, and
    what can't do without its metric stops the run there. The one that the config's ``monitor`` waits for,
    ``EarlyStopping``'s, a ``ModelCheckpoint``'s and ``ReduceLROnPlateau``'s are looked after alike.

    Args:
        stops: without it the run says so and goes on.
        how_to_go_on: the command that goes on with the run, without the mended key.
    """

    def __init__(self, stops: bool = True, how_to_go_on: str = "") -> None:
        self.stops = stops
        self.how_to_go_on = how_to_go_on
        self._measured: set[int] = set()
        self._said: set[tuple[str, str]] = set()
        self._validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check_validation(trainer, saves=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check_validation(trainer)  # Lightning makes the loaders only for the first validation

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking or trainer.fast_dev_run:
            return
        self._validated = True
        self._measured |= {id(one) for one in _with_interval(trainer) if due(trainer, one.every_n_epochs)}
        logged = [name for name in trainer.callback_metrics if name.startswith("val/")]
        if not logged:
            return
        logged += [name for name in trainer.callback_metrics if name.startswith("train/")]
        for monitor in monitors_of(trainer):
            if monitor.metric not in trainer.callback_metrics:
                self._check(trainer, monitor, logged)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Of a run whose validations log nothing at all, which were passed over so far.
        for monitor in monitors_of(trainer) if stage == "fit" and self._validated else ():
            said = any(key == monitor.key for key, _ in self._said)
            if monitor.key == "monitor" and monitor.metric not in trainer.callback_metrics and not said:
                self._say(monitor, "was never logged" + _without_best(monitor))

    def _check_validation(self, trainer: Trainer, saves: bool = True) -> None:
        """Look for monitors that wait for a validation where there is none."""
        if self._validated or trainer.fast_dev_run or not _is_without_validation(trainer):
            return
        for monitor in monitors_of(trainer):
            if not monitor.metric.startswith("val/"):
                continue
            told = f"never comes: nothing is validated ({why_nothing(trainer, 'val')})"
            if monitor.needs_it_now:
                self._stop(trainer, monitor, told, saves)
            else:
                self._say(monitor, told + _without_best(monitor))

    def _check(self, trainer: Trainer, monitor: Monitor, logged: list[str]) -> None:
        later = [one for one in _with_interval(trainer) if id(one) not in self._measured]
        certain = [one for one in later if monitor.metric in (names_of(one) or ())]
        undecided = [one for one in later if names_of(one) is None]
        names = [*(name for one in later for name in names_of(one) or ()), *logged]
        if monitor.metric.startswith("train/") and not any(name.startswith("train/") for name in logged):
            return
        if certain and not monitor.needs_it_now:
            return
        if certain:
            every = min(one.every_n_epochs for one in certain)
            told = f"is measured every {every} epochs only, and is needed at each: set every_n_epochs to 1"
            self._stop(trainer, monitor, told)
        elif undecided and monitor.metric.startswith("val/") and not monitor.needs_it_now:
            kinds = ", ".join(sorted({type(one).__name__ for one in undecided}))
            self._say(monitor, f"is not logged yet, but {kinds} may log it later{nearest(monitor.metric, names)}")
        else:
            self._stop(trainer, monitor, f"is not among what this run logs{nearest(monitor.metric, names)}")

    def _stop(self, trainer: Trainer, monitor: Monitor, told: str, saves: bool = True) -> None:
        if not self.stops or ends_training(trainer):
            self._say(monitor, told + _without_best(monitor))
            return
        saved = ""
        for callback in trainer.callbacks if saves else ():
            if isinstance(callback, LastCheckpoint):
                callback.save(trainer)
                key = " --monitor=…" if monitor.key == "monitor" else ""
                saved = f"; saved, go on with: {self.how_to_go_on}{key}"
        raise UserError(f"{monitor.key}: '{monitor.metric}' {told}{saved}")

    def _say(self, monitor: Monitor, told: str) -> None:
        if (monitor.key, told.split(";")[0]) not in self._said:
            self._said.add((monitor.key, told.split(";")[0]))
            say(f"{monitor.key}: '{monitor.metric}' {told}")


def monitors_of(trainer: Trainer) -> list[Monitor]:
    """All in a run that wait for a metric."""
    found = []
    for callback in trainer.callbacks:
        if isinstance(callback, BestCheckpoint):
            found.append(Monitor("monitor", callback.monitor))
        elif isinstance(callback, EarlyStopping):
            found.append(Monitor("EarlyStopping.monitor", callback.monitor, needs_it_now=callback.strict))
        elif isinstance(callback, ModelCheckpoint) and callback.monitor not in (None, "epoch", "step"):
            found.append(Monitor("ModelCheckpoint.monitor", callback.monitor, needs_it_now=True))
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau:
            found.append(Monitor("ReduceLROnPlateau's monitor", config.monitor, needs_it_now=config.strict))
    return found


def names_of(callback: Callback) -> set[str] | None:
    """The names that a callback may log at a validation; None if it doesn't say.

    Each of lit-gen's own that logs states how it measures, in its ``protocols``. One without them is a picture, and
    logs nothing.
    """
    if type(callback).__module__.startswith("lit_gen.") and not hasattr(callback, "protocols"):
        return set()
    names: Callable[[str], Iterable[str] | None] | None = getattr(callback, "figure_names", None)
    given = None if names is None else names("val")
    return None if given is None else set(given)


def why_nothing(trainer: Trainer, split: str) -> str:
    """Why there are no batches of a split (val, test or predict)."""
    if not getattr(trainer, f"limit_{split}_batches"):
        return f"trainer.limit_{split}_batches is 0"
    if split == "val" and getattr(trainer.datamodule, "num_validation", None) == 0:
        return "data.num_validation is 0"
    return f"there are no batches of the {split} split"


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that said that there is no such metric."""
    names = list(dict.fromkeys(names))
    split = "train/" if name.startswith("train/") else "val/"
    if longer := [one for one in names if one.startswith(name)]:
        return f"; the nearest is '{longer[0]}'"
    for some in ([one for one in names if one.startswith(split)], names):
        if close := difflib.get_close_matches(name, some, n=1, cutoff=0.5):
            return f"; the nearest is '{close[0]}'"
    return f"; there are {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"


def _without_best(monitor: Monitor) -> str:
    return "; there is no best.ckpt by it" if monitor.key == "monitor" else ""


def _is_without_validation(trainer: Trainer) -> bool:
    """Whether no validation has a batch, as far as it is known: before the loaders are made they may have some."""
    if not trainer.enable_validation:
        return True
    return trainer.val_dataloaders is not None and sum(trainer.num_val_batches) == 0


def _with_interval(trainer: Trainer) -> list[Callback]:
    """The callbacks that measure at some validations."""
    others = [callback for callback in trainer.callbacks if not isinstance(callback, EpochPicture)]
    return [one for one in others if isinstance(every := getattr(one, "every_n_epochs", 0), int) and every > 0]
