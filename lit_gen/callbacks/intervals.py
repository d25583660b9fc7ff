"""When a callback with an interval acts: on every n-th epoch, and on the model that training ends with."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lit_gen.callbacks.pictures import batches_done


def due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether a callback acts at this validation, or at this end of a training epoch, within a fit.

    It does on every n-th epoch, and at the end of training, whatever ends it, so that a run never ends without the
    pictures and metrics of its final model. What can't be foreseen, as early stopping, is made up for by
    ``FinalValidation`` and ``EpochPicture``.

    Args:
        trainer: the trainer; outside of a fit and in its sanity check nothing is due.
        every_n_epochs: the interval; 0 is never.
    """
    if every_n_epochs < 1 or trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
        return False
    return (trainer.current_epoch + 1) % every_n_epochs == 0 or ends_training(trainer)


def due_or_asked_for(trainer: Trainer, every_n_epochs: int) -> bool:
    """``due``, or this validation is all that was asked for (``lit-gen validate``)."""
    return trainer.state.fn == TrainerFn.VALIDATING or due(trainer, every_n_epochs)


def ends_training(trainer: Trainer) -> bool:
    """Whether no training batch follows the one before, as far as this can be foreseen."""
    if is_final_validation(trainer):
        return True
    fit = trainer.fit_loop
    if 0 <= trainer.max_steps <= trainer.global_step or (trainer.should_stop and fit._can_stop_early):
        return True
    last_epoch = trainer.max_epochs is not None and 0 <= trainer.max_epochs <= trainer.current_epoch + 1
    return last_epoch and fit.epoch_loop._num_ready_batches_reached()


def is_final_validation(trainer: Trainer) -> bool:
    """Whether the validation under way is one that ``FinalValidation`` runs after the training."""
    return any(isinstance(callback, FinalValidation) and callback.is_running for callback in trainer.callbacks)


class FinalValidation(Callback):
    """Validates the weights that training ends with, where its last validation was not of them or passed pictures over.

    So it is if training ends amid an epoch (``max_steps``), in an epoch without a validation
    (``check_val_every_n_epoch``), or by a decision that comes after the validation (early stopping). Nothing of it
    reaches the training: it runs after ``last.ckpt`` has been written, and takes no step of any schedule. A run that
    turned validation off (``limit_val_batches=0``) has none at its end either.
    """

    def __init__(self) -> None:
        self.is_running = False
        self._counts_back = False
        self._covers_all = False
        self._validated_at = -1

    def state_dict(self) -> dict[str, int]:
        """After how many batches everything was last measured: a run that was killed before is validated later."""
        return {"validated_at": self._validated_at}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from ``state_dict``."""
        self._validated_at = state_dict["validated_at"]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._covers_all = all(due(trainer, every) for every in _intervals(trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Metrics are logged by now. Checkpoints, which come last, save the counters as they should be.
        self._stop_counting_back(trainer)
        if self._covers_all and trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._validated_at = batches_done(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.enable_validation and batches_done(trainer) > max(0, self._validated_at):
            self._run(trainer)

    def _run(self, trainer: Trainer) -> None:
        loop = trainer.fit_loop.epoch_loop
        # Lightning has counted the last batch and its epoch as done; metrics are logged as of them.
        loop._batches_that_stepped -= 1
        trainer.fit_loop.epoch_progress.current.completed -= 1
        self.is_running = self._counts_back = True
        trainer.validating = True
        try:
            loop.val_loop.run()
        finally:
            self._stop_counting_back(trainer)
            self.is_running = False
            trainer.training = True

    def _stop_counting_back(self, trainer: Trainer) -> None:
        if self._counts_back:
            trainer.fit_loop.epoch_loop._batches_that_stepped += 1
            trainer.fit_loop.epoch_progress.current.completed += 1
            self._counts_back = False


class EpochPicture(Callback):
    """Base of pictures drawn at the end of every n-th training epoch, at the end of training and perhaps before it.

    A subclass writes ``save``.

    Args:
        every_n_epochs: the interval.
        at_start: also a picture of the untrained model, at step 0.
    """

    def __init__(self, every_n_epochs: int, at_start: bool) -> None:
        self.every_n_epochs = every_n_epochs
        self.at_start = at_start
        self._saved_at = -1

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the picture and save it. Called on every rank."""
        raise NotImplementedError

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.at_start and batches_done(trainer) == 0:
            self.save(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if due(trainer, self.every_n_epochs):
            self._saved_at = batches_done(trainer)
            self.save(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._saved_at != batches_done(trainer):
            self.save(trainer, pl_module)


def _intervals(trainer: Trainer) -> list[int]:
    """The intervals of the callbacks that act at validations."""
    at_validations = [callback for callback in trainer.callbacks if not isinstance(callback, EpochPicture)]
    found = [getattr(callback, "every_n_epochs", 0) for callback in at_validations]
    return [every for every in found if isinstance(every, int) and every > 0]
