"""The hooks of a training step: which of them anybody has, and calling those."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lightning.pytorch import Callback, LightningModule, Trainer

STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Hooks of callbacks and models that Lightning calls in every step."""


class StepHooks:
    """The hooks that somebody has, looked up once: of the callbacks, then of the model."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.model = trainer.lightning_module
        self._hooks = {name: callable_hooks(trainer, name) for name in STEP_HOOKS}
        self.model_clips = overrides(self.model, LightningModule, "configure_gradient_clipping")

    def call(self, name: str, *args):
        """Call the callbacks' hooks, then the model's, whose result is returned."""
        for_callbacks, of_model = self._hooks[name]
        if not for_callbacks and of_model is None:
            return None
        model, noted = self.model, self.model.__dict__  # a module's own way of setting attributes is slow
        previous, noted["_current_fx_name"] = noted["_current_fx_name"], name
        for hook in for_callbacks:
            hook(self.trainer, model, *args)
        response = None if of_model is None else of_model(*args)
        noted["_current_fx_name"] = previous
        return response


def overrides(instance: object, base: type, name: str) -> bool:
    """Whether the method is another than ``base``'s, by its class or on the instance itself."""
    return name in vars(instance) or getattr(type(instance), name, None) is not getattr(base, name)


def callable_hooks(trainer: Trainer, name: str) -> tuple[list[Callable], Callable | None]:
    """The callbacks' hooks of that name and the model's, without those that are hidden."""
    hooks = [getattr(callback, name) for callback in trainer.callbacks]
    of_model = getattr(trainer.lightning_module, name)
    return [hook for hook in hooks if callable(hook)], of_model if callable(of_model) else None


def empty_hooks(trainer: Trainer) -> list[tuple[object, str]]:
    """The step hooks of callbacks and model that are the base class's empty ones, each with whose it is."""
    of_callbacks = [(callback, Callback) for callback in trainer.callbacks]
    return [
        (instance, name)
        for instance, base in (*of_callbacks, (trainer.lightning_module, LightningModule))
        for name in STEP_HOOKS
        if not overrides(instance, base, name)
    ]


@contextmanager
def hidden(hooks: list[tuple[object, str]]) -> Iterator[None]:
    """Within the block those hooks are None on their instances, and Lightning passes over what isn't callable."""
    for instance, name in hooks:
        vars(instance)[name] = None
    try:
        yield
    finally:
        for instance, name in hooks:
            if vars(instance).get(name) is None:  # else somebody has put a hook there meanwhile
                vars(instance).pop(name, None)
