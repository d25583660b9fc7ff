"""The parts that a config names: building them, and saying of an error which of them it came from.

Building a part and trying it before the first step run code that the person chose, with arguments that the person
chose. Whatever it raises there, of any type, is told in one line: the part's path in the config and its own words.
From the first step on (see ``FirstStep``) nothing is: an error there may be a bug of ours, and keeps its traceback.
"""

import copy
import difflib
import inspect
import pydoc
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jsonargparse
from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lit_gen.cli.part_trials import try_optimizer, try_scheduler
from lit_gen.errors import UserError

_MARK = "lit_gen_part"
_MOST_WORDS = 240
_SELF_EXPLANATORY = (UserError, ValueError, RuntimeError, OSError, MisconfigurationException)
"""Types whose name adds nothing to their message."""


class Part(NamedTuple):
    """What a config names.

    Attributes:
        path: its place, as ``model.encoder`` or ``trainer.callbacks[0]``.
        class_path: as ``lit_gen.networks.MLP``.
    """

    path: str
    class_path: str


class Parts:
    """The parts of one config, by instance."""

    def __init__(self) -> None:
        self._built: dict[int, tuple[object, Part]] = {}
        self._failed: list[tuple[BaseException, Part]] = []
        self._is_building = False
        self._depth = 0  # of constructors under way

    def __deepcopy__(self, memo: dict) -> "Parts":
        return self  # makers of optimizers refer to it, and copies of a model to them

    def build(self, parser: jsonargparse.ArgumentParser, config: Namespace) -> Namespace:
        """Build all that ``config`` names; ``config`` itself stays as it is.

        Raises:
            UserError: a part's constructor raised an error, or a part has a size of 0.
        """
        marked = copy.deepcopy(config)
        _mark(marked, "")
        self._is_building = True
        try:
            return parser.instantiate(marked, instantiators=[(self._make, object, True)])
        except Exception as error:
            # Where a value may be of several types, jsonargparse raises an error of its own that knows no cause.
            cause = self._failure(error) or (self._failed[-1] if self._failed else None)
            if cause is None:
                raise
            raise UserError(self._told(*cause)) from cause[0]
        finally:
            self._is_building = False

    @contextmanager
    def mistakes_told(self, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Within the block an error of a part, of whatever type, becomes a :class:`UserError` that names the part.

        A ``UserError`` that is raised while a part is tried stays as it is: it says what is wrong in terms of the whole
        model. One of a part's constructor gets the part's path.

        Args:
            when: asked when an error has come: whether it is still one of building or trying parts. Afterwards one
                alone is a person's mistake for certain: an ``EarlyStopping`` on a metric that an epoch doesn't log (as
                far as ``MonitorWatch`` couldn't tell it first).
        """
        try:
            yield
        except Exception as error:
            told = self._told_of(error) if when() else self._told_of_missing_metric(error)
            if told is None:
                raise
            raise UserError(told) from error

    def try_optimizers(self, model: LightningModule) -> None:
        """Let a model make its optimizers and schedules long before its fit does.

        Raises:
            UserError: one of them can't be made. What else goes wrong is left to the fit, which knows more.
        """
        try:
            model.configure_optimizers()
        except Exception as error:
            if (cause := self._failure(error)) is not None:
                raise UserError(self._told(*cause)) from error

    def _make(self, class_type: type, *args: Any, **kwargs: Any) -> Any:
        """Make one part: called by jsonargparse, and later by what it has left to make, such as optimizers."""
        part = kwargs.pop(_MARK, None)
        if part is None:
            return class_type(*args, **kwargs)
        self._depth += 1
        try:
            made = class_type(*args, **kwargs)
            if isinstance(made, Optimizer):
                try_optimizer(made, args[1:], kwargs)
            elif isinstance(made, LRScheduler):
                try_scheduler(made, args[1:], kwargs)
            elif isinstance(made, nn.Module):
                _check_sizes(made)
        except Exception as error:
            if self._failure(error) is None:  # else it is that of a part within, which has been noted
                self._failed.append((error, part))
            raise
        finally:
            self._depth -= 1
        if self._is_building and not self._depth:  # else another part has made it for itself, as its layers
            self._built[id(made)] = (made, part)
            self._failed = [failed for failed in self._failed if failed[1] != part]  # it came to be after all
        return made

    def _failure(self, error: BaseException) -> tuple[BaseException, Part] | None:
        """The noted error that ``error`` is or came of: jsonargparse raises its own in its place."""
        for one in _chain(error):
            for failed, part in self._failed:
                if failed is one:
                    return failed, part
        return None

    def _told_of(self, error: Exception) -> str | None:
        """The line for an error of building or trying; None where it is no part's, or says all itself."""
        if (cause := self._failure(error)) is not None:
            return self._told(*cause)
        if isinstance(error, UserError):
            return None
        if (found := self._on_the_stack(error)) is not None:
            return self._told(error, found[1])
        if isinstance(error, ValueError | TypeError) and _raised_by(error).startswith("lightning."):
            return self._told(error, Part("trainer", "lightning.pytorch.Trainer"))  # its word on the keys' values
        return None

    def _told_of_missing_metric(self, error: Exception) -> str | None:
        found = self._on_the_stack(error) if isinstance(error, RuntimeError) else None
        if found is None or not isinstance(found[0], EarlyStopping) or "not available" not in str(error):
            return None
        stopping, part = found
        logged = re.findall(r"`([^`]+)`", str(error).partition("any of the following")[2])
        if near := difflib.get_close_matches(stopping.monitor, logged, n=1):
            hint = f"did you mean '{near[0]}'?"
        else:
            words = f"it logged {', '.join(logged)}" if logged else "nothing at all was logged"
            hint = textwrap.shorten(words, 120, placeholder=" …") + ";"
        return (
            f"{part.path} ({part.class_path}): an epoch ended without its metric '{stopping.monitor}'; {hint} "
            "strict: false passes over epochs that don't measure it"
        )

    def _on_the_stack(self, error: BaseException) -> tuple[object, Part] | None:
        """The innermost part on the stack of an error: it raised it, or what it called did."""
        traceback, found = error.__traceback__, None
        while traceback is not None:
            instance = traceback.tb_frame.f_locals.get("self")
            made, part = self._built.get(id(instance), (None, None))
            if made is not None and made is instance:
                found = made, part
            traceback = traceback.tb_next
        return found

    def _told(self, error: BaseException, part: Part) -> str:
        if isinstance(error, UserError):
            return f"{part.path}: {error}"
        words = textwrap.shorten(str(error), _MOST_WORDS, placeholder=" …")
        if not words or not isinstance(error, _SELF_EXPLANATORY):
            words = f"{type(error).__name__}: {words}" if words else type(error).__name__
            words += " (--debug shows where)"
        if isinstance(error, AttributeError) and "has no attribute" in words:
            words += "; a part of another kind belongs here"
        return f"{part.path} ({part.class_path}): {words}"


class FirstStep(Callback):
    """Knows whether the first step has come: of training, or of an evaluation that stands alone.

    The line between trying the parts and running them. What Lightning does before it (``setup``, the optimizers, the
    loaders, ``on_fit_start``, ``on_train_start``) tries them.
    """

    def __init__(self) -> None:
        self.is_near = False
        self.on_near: list[Callable[[], None]] = []
        """Called once, when all parts have been tried."""

    def come(self) -> None:
        """Note that it is near."""
        if not self.is_near:
            self.is_near = True
            for act in self.on_near:
                act()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.come()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.come()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.come()

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.come()


class FirstStepAmidEpoch(Callback):
    """Lets the first step come of a run that goes on amid an epoch, which Lightning does not start again.

    Its place is after the callbacks that may refuse to start.
    """

    def __init__(self, first_step: FirstStep) -> None:
        self._first_step = first_step

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fit_loop.restarted_mid_epoch or trainer.fit_loop.restarted_on_epoch_end:
            self._first_step.come()


def _mark(node: Any, path: str) -> None:
    """Note in every class that a config names where it is named.

    The mark is one more keyword argument, which :meth:`Parts._make` takes out again: of what it makes, jsonargparse
    tells an instantiator the class and the arguments alone.
    """
    if isinstance(node, list | tuple):
        for number, entry in enumerate(node):
            _mark(entry, f"{path}[{number}]")
    elif isinstance(node, Namespace | dict):
        entries = dict(vars(node) if isinstance(node, Namespace) else node)
        arguments = entries.get("init_args")
        if isinstance(entries.get("class_path"), str):
            if inspect.isclass(pydoc.locate(entries["class_path"])):
                given = entries.get("dict_kwargs") or {}
                node["dict_kwargs"] = {**given, _MARK: Part(path, entries["class_path"])}
            _mark(arguments, path)
            return
        for key, entry in entries.items():
            _mark(entry, f"{path}.{key}" if path else key)


def _check_sizes(module: nn.Module) -> None:
    """Refuse a network with weights that have no elements, which torch builds and trains without a word.

    Raises:
        UserError: it has some.
    """
    for name, parameter in module.named_parameters():
        if not is_lazy(parameter) and parameter.numel() == 0:
            raise UserError(
                f"{type(module).__name__}'s parameter '{name}' has the shape {tuple(parameter.shape)}, of no elements: "
                "each size asked for must be at least 1"
            )


def _raised_by(error: BaseException) -> str:
    """The name of the module that raised an error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it came of."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
