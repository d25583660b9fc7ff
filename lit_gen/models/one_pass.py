"""Models with a closed form: found from one pass over the training split, without gradients."""

import warnings

from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel


class OnePassModel(GenerativeModel):
    """Base of models that gather statistics batch by batch and conclude from them at the end of the only epoch.

    A subclass writes ``gather``, which takes one batch in, and ``conclude``, which finds the model from what has been
    gathered. This class sees to it that:

    - one batch is one global step, as in a model with optimizers;
    - the model has been found before its first evaluation, before the epoch's last pictures and before the checkpoint
      that follows its last batch; also when the pass is cut short or evaluated in its middle;
    - several processes train it under ``ddp``, though it has no gradients to exchange;
    - a second epoch, which could tell it nothing, is refused.

    Raises:
        UserError: in ``setup``, a trainer of another number of epochs or of a strategy that isn't ``ddp``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._is_concluded = True

    def gather(self, batch) -> dict[str, Tensor]:
        """Take a batch in; named scalar tensors to log."""
        raise NotImplementedError

    def conclude(self) -> None:
        """Find the model from what all ranks have gathered so far; more may follow. A collective call."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let go of what has been gathered: the pass is over."""
        raise NotImplementedError

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        terms = self.gather(batch)
        self._is_concluded = False
        # What Lightning counts as a step is an optimizer's: this tracker is its global step.
        loop = self.trainer.fit_loop.epoch_loop
        progress = loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        if loop.batch_progress.is_last_batch or self.trainer.global_step == self.trainer.max_steps:
            self._conclude_once()
            self.forget()
        return terms

    def _conclude_once(self) -> None:
        if not self._is_concluded:
            self.conclude()
            self._is_concluded = True

    def on_fit_start(self) -> None:
        # A checkpoint holds the sums after the batch that it is named after, which Lightning finds worth a warning.
        warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")

    def on_validation_start(self) -> None:
        self._conclude_once()

    def on_train_epoch_end(self) -> None:
        self._conclude_once()
        self.forget()

    def configure_optimizers(self) -> list:
        """None."""
        return []

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        name, trainer = type(self).__name__, self.trainer
        trainer.num_sanity_val_steps = 0  # there is no model yet to try an evaluation with
        if trainer.max_epochs != 1:
            raise UserError(
                f"{name} is found in one pass over the data, and more tell it nothing: set trainer.max_epochs to 1, "
                f"not to {'no limit' if trainer.max_epochs in (None, -1) else trainer.max_epochs}"
            )
        if isinstance(trainer.strategy, DDPStrategy):
            # DistributedDataParallel exchanges gradients and refuses a module that has none. The ranks' sums are
            # exchanged in conclude, so the model stays unwrapped, as it is in Lightning's own evaluation.
            trainer.strategy.configure_ddp = lambda: None
        elif trainer.world_size > 1:
            raise UserError(
                f"{name} trains in several processes with --trainer.strategy=ddp, not with "
                f"{type(trainer.strategy).__name__}"
            )
        self._warn_of_a_dropped_batch()

    def teardown(self, stage: str) -> None:
        vars(self.trainer.strategy).pop("configure_ddp", None)

    def _warn_of_a_dropped_batch(self) -> None:
        data = self.trainer.datamodule
        batch_size = getattr(data, "batch_size", None)
        if not batch_size or not hasattr(data, "num_examples"):
            return
        count = data.num_examples("train")
        if count > batch_size and count % batch_size:
            warnings.warn(
                f"{type(self).__name__} passes over {count // batch_size} whole batches and leaves the last "
                f"{count % batch_size} of {count} training examples out: a batch_size that divides {count} takes "
                "all of them in.",
                stacklevel=2,
            )
