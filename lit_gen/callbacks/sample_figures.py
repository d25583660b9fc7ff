"""Figures of what a model draws: when they are measured, and samples that all ranks share in drawing."""

from collections.abc import Iterator, Mapping

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.intervals import due_or_asked_for
from lit_gen.callbacks.real_examples import in_order
from lit_gen.callbacks.shortened_test import LEAST, ShortenedTest
from lit_gen.distributed import rank, world_size
from lit_gen.errors import UserError
from lit_gen.protocols import Samples
from lit_gen.randomness import derive_seed, seed_torch, seeded


class SampleFigures(Callback):
    """Base of figures that are made of samples: a subclass says what to ``measure`` of them.

    The samples are drawn in numbered blocks of ``batch_size``, each with noise of its own that is the same at every
    measurement and on any number of processes, which share the blocks.

    Args:
        num_samples: number of samples drawn; a figure's name ends in it.
        every_n_epochs: measures at the validation of every n-th epoch; 0 only at the test (and at ``validate``).
        batch_size: samples drawn at once. Another value draws other noise.
        seed: names the noise.

    Raises:
        UserError: on counts out of range; at setup, if the model can't be drawn from.
    """

    shortened: ShortenedTest | None = None
    """What a test is cut to; None for the whole."""

    least_samples = LEAST
    """Fewer are of no use to the metric."""

    def __init__(self, num_samples: int, every_n_epochs: int = 1, batch_size: int = 500, seed: int = 0) -> None:
        for name, value, least in [
            ("num_samples", num_samples, 1),
            ("every_n_epochs", every_n_epochs, 0),
            ("batch_size", batch_size, 1),
        ]:
            if value < least:
                raise UserError(f"{type(self).__name__} needs {name} of at least {least}, got {value}.")
        self.num_samples = num_samples
        self.every_n_epochs = every_n_epochs
        self.batch_size = batch_size
        self.seed = seed
        self.protocols: dict[str, str] = {}
        """The line that states how each logged figure was measured, by the figure's name."""

    def figure_names(self, split: str) -> set[str] | None:
        """The names of its figures of a whole run; None if it doesn't say."""
        return None

    def measure(self, trainer: Trainer, pl_module: LightningModule, split: str, count: str) -> Mapping[str, float]:
        """The figures by their whole names, and their ``protocols``; the same on every rank.

        The model is in evaluation mode and torch's global generators may be used. ``split`` is val or test, ``count``
        how the number of samples is told in a name.
        """
        raise NotImplementedError

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_samples(self, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if due_or_asked_for(trainer, self.every_n_epochs):
            self._measure_and_log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure_and_log(trainer, pl_module, "test")

    def _measure_and_log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        count = count_name(self.samples_now(trainer))
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "sample figures"), pl_module.device):
            figures = self.measure(trainer, pl_module, split, count)
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log_dict(dict(figures), sync_dist=True, batch_size=1)

    def samples_now(self, trainer: Trainer) -> int:
        """``num_samples``; less in a ``fast_dev_run`` of n batches, which has n blocks, and in a shortened test."""
        if self.shortened is not None and trainer.testing:
            count = self.shortened.count(self.num_samples, least=self.least_samples)
            self.shortened.note(type(self).__name__, count, self.num_samples, "samples")
            return count
        limit = int(trainer.fast_dev_run)
        return min(self.num_samples, limit * self.batch_size) if limit else self.num_samples

    def blocks(self, trainer: Trainer, model: LightningModule) -> Iterator[Tensor]:
        """This rank's blocks of samples, (B, *event_shape) each: every world_size-th. Reseeds torch's generators."""
        total = self.samples_now(trainer)
        for block in range(rank(), -(-total // self.batch_size), world_size()):
            seed_torch(derive_seed(self.seed, type(self).__name__, block), model.device)
            yield model.sample(min(self.batch_size, total - block * self.batch_size))

    def all_samples(self, trainer: Trainer, model: LightningModule) -> Tensor:
        """(N, *event_shape) the blocks of all ranks in order, on each of them."""
        parts = list(self.blocks(trainer, model))
        numbers = torch.arange(self.samples_now(trainer), device=model.device).split(self.batch_size)
        # A rank without a block has samples of this shape, but none.
        none = torch.empty(0, *trainer.datamodule.event_shape, device=model.device)
        index = torch.cat([numbers[0][:0], *numbers[rank() :: world_size()]])
        return in_order(torch.cat([none, *parts]), index)

    def told_samples(self, trainer: Trainer) -> str:
        """How the samples were drawn, for a protocol."""
        return f"{self.samples_now(trainer)} samples; noise seed {self.seed}"


def check_samples(callback: Callback, model: LightningModule) -> None:
    """Refuse a model that can't be drawn from.

    Raises:
        UserError: says so.
    """
    if not isinstance(model, Samples):
        raise UserError(
            f"{type(callback).__name__} can't draw from a {type(model).__name__}: it has no sample(num_samples); take "
            "the callback out of the config."
        )


def count_name(count: int) -> str:
    """A count in a figure's name: 2500, 10k."""
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)


def shared_draw(model: LightningModule, num: int, seed: int, batch_size: int = 500) -> Tensor:
    """(num, *event_shape) samples, alike on every rank, each of which draws all: for the few that a picture takes.

    Call it within ``eval_mode``; training's own noise stays as it was.
    """
    with seeded(seed, model.device):
        sizes = [min(batch_size, num - start) for start in range(0, num, batch_size)]
        return torch.cat([model.sample(size) for size in sizes])
