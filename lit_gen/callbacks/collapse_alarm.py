"""An alarm for the ways in which an adversarial game fails, in words."""

import warnings
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.gradient_norms import GradientNorms
from lit_gen.callbacks.pictures import batches_done
from lit_gen.callbacks.real_examples import SPLITS, check_reference, real_examples
from lit_gen.callbacks.sample_figures import check_samples, shared_draw
from lit_gen.errors import UserError
from lit_gen.metrics.collapse import Cells, relative_diversity
from lit_gen.protocols import Discriminates
from lit_gen.randomness import derive_seed

SURE = 0.99
"""The discriminator is sure of what it gives at least this mean probability of being what it is."""

VANISHED = 1e-3
"""A generator's gradient has vanished at less than this share of the largest norm seen at the alarm's looks."""


class Verdict(NamedTuple):
    """What a look at the samples said.

    Attributes:
        figures: what it rests on, by name without a split.
        findings: what is wrong, each in words; none where nothing is.
    """

    figures: dict[str, float]
    findings: list[str]


class CollapseAlarm(Callback):
    """Looks every so many steps whether the game has failed, and says in words what it saw.

    Samples are held against as many real examples, in the space of the data. Something is wrong if

    - samples repeat each other: their median distance to the nearest other sample is less than ``least_diversity``
      times that of real examples (``diversity``);
    - they leave out parts of the data: of the real examples, divided into ``num_cells`` cells by k-means, more than
      ``most_left_out`` lie in cells with less than a tenth of their fair share of samples (``left_out``);
    - the discriminator is sure of real and fake alike (mean probabilities of at least 0.99) while the generator's
      gradient has all but vanished, to less than a thousandth of the largest that was seen: where scores are logits
      and ``GradientNorms`` is among the callbacks (``probability_real_of_real``, ``probability_real_of_fake``);
    - samples aren't finite.

    An untrained generator draws much the same as a collapsed one: nothing is looked at before ``start_step``, and the
    alarm is raised when something was wrong at ``patience`` looks in a row. Logged at each look: ``train/collapse``, 1
    while it is raised and 0 otherwise, with the figures above as ``train/collapse_<figure>``; at the test, which
    judges the weights that are tested by one look, ``test/collapse`` and its figures. The first time it is raised in a
    run a warning tells the step and what was seen. Its state is part of checkpoints, its noise is the same at
    each look, so a resumed run raises it where the unbroken one would have.

    The defaults lie between what was measured with 400 to 1,000 samples. Healthy: draws of the density itself (ring,
    grid, moons, digits) had left_out 0 and diversity at least 0.9; plain games from batch 600 on at most 0.24 and at
    least 0.44 (six of MLPs on ring and grid, with and without averaged weights). Collapsed: left_out of four, two
    and one of the ring's eight modes 0.5, 0.74 and 0.86, of one class of digits 0.51 to 0.73; diversity of one point
    0.004, of all modes at a twentieth of their breadth 0.05. A generator that still learns reaches 0.95. More cells
    tell finer gaps, and find some in each mode of a healthy game: with 20, plain games reached 0.47.

    Args:
        every_n_steps: batches between two looks.
        start_step: the first batch at which to look.
        patience: looks in a row at which something must be wrong.
        num_samples: samples, and real examples of the split if it has as many.
        reference: the split that they are held against, "train", "val" or "test"; None for val where it has ten
            examples a cell, else train.
        least_diversity: see above.
        most_left_out: see above, a share in (0, 1).
        num_cells: see above.
        stop: end the run when the alarm is raised.
        seed: names the noise.

    Raises:
        UserError: a number out of range; at setup, a model that can't be drawn from, or too few examples.
    """

    def __init__(
        self,
        every_n_steps: int = 500,
        start_step: int = 1000,
        patience: int = 2,
        num_samples: int = 1000,
        reference: str | None = None,
        least_diversity: float = 0.1,
        most_left_out: float = 0.4,
        num_cells: int = 16,
        stop: bool = False,
        seed: int = 0,
    ) -> None:
        for name, value, least in [
            ("every_n_steps", every_n_steps, 1),
            ("start_step", start_step, 0),
            ("patience", patience, 1),
            ("num_cells", num_cells, 2),
            ("num_samples", num_samples, 10 * num_cells),
        ]:
            if value < least:
                raise UserError(f"CollapseAlarm needs {name} of at least {least}, got {value}.")
        if not (0 <= least_diversity < 1 and 0 < most_left_out < 1):
            raise UserError(
                "CollapseAlarm needs least_diversity in [0, 1) and most_left_out in (0, 1), got "
                f"{least_diversity} and {most_left_out}."
            )
        if reference is not None and reference not in SPLITS:
            raise UserError(f"CollapseAlarm's reference is a split, train, val or test, not '{reference}'.")
        self.every_n_steps = every_n_steps
        self.start_step = start_step
        self.patience = patience
        self.num_samples = num_samples
        self.reference = reference
        self.least_diversity = least_diversity
        self.most_left_out = most_left_out
        self.num_cells = num_cells
        self.stop = stop
        self.seed = seed
        self.raised_at: int | None = None
        """The batch at which the alarm was first raised, None for never."""
        self.protocols: dict[str, str] = {}
        """The line that states how each logged figure was measured, by the figure's name."""
        self._num_bad = 0
        self._largest_gradient = 0.0
        self._real: Tensor | None = None
        self._cells: Cells | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know to raise it where the unbroken one would have."""
        return {
            "raised_at": self.raised_at,
            "num_bad": self._num_bad,
            "largest_gradient": self._largest_gradient,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.raised_at = state_dict["raised_at"]
        self._num_bad = state_dict["num_bad"]
        self._largest_gradient = state_dict["largest_gradient"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_samples(self, pl_module)
        check_reference(self, trainer)
        split = self._split(trainer)
        count = trainer.datamodule.num_examples(split)
        if count < 10 * self.num_cells:
            raise UserError(
                f"CollapseAlarm divides the {split} split into num_cells {self.num_cells} cells, for which its {count} "
                "examples are fewer than ten each."
            )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int) -> None:
        step = batches_done(trainer)
        if step % self.every_n_steps or step < self.start_step:
            return
        verdict = self.look(trainer, pl_module)
        # Whatever rounding does to a rank's own figures, all go on or stop together.
        bad = trainer.strategy.reduce_boolean_decision(bool(verdict.findings), all=False)
        self._num_bad = self._num_bad + 1 if bad else 0
        raised = self._num_bad >= self.patience
        figures = self._named("train", verdict, raised)
        pl_module.log_dict(figures, on_step=True, on_epoch=False, logger=False, batch_size=1)
        # A look needn't be at a step that reaches the loggers otherwise. They count batches from 0.
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=step - 1)
        if raised and self.raised_at is None:
            self.raised_at = step
            if trainer.is_global_zero:
                warnings.warn(f"collapse at step {step}: {'; '.join(verdict.findings)}", stacklevel=2)
        if raised and self.stop:
            trainer.should_stop = True

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        verdict = self.look(trainer, pl_module)
        figures = self._named("test", verdict, bool(verdict.findings))
        pl_module.log_dict(figures, sync_dist=True, batch_size=1)
        sets = f"{len(self._real)} samples and {self._split(trainer)} examples; noise seed {self.seed}"
        self.protocols |= dict.fromkeys(figures, sets)
        self.protocols["test/collapse"] = "; ".join(
            [
                "the alarm was never raised in training"
                if self.raised_at is None
                else f"the alarm was first raised at step {self.raised_at}",
                *(verdict.findings or ["nothing wrong with the weights tested"]),
                sets,
            ]
        )

    def look(self, trainer: Trainer, pl_module: LightningModule) -> Verdict:
        """One look at what the model draws now, the same on every rank."""
        if self._real is None:
            self._real = real_examples(trainer, self._split(trainer), self.num_samples, pl_module.device)
            self._cells = Cells(self._real, self.num_cells)
        with eval_mode(pl_module):
            fake = shared_draw(pl_module, len(self._real), derive_seed(self.seed, "collapse"))
            if not torch.isfinite(fake).all():
                return Verdict({}, ["samples aren't finite"])
            of_samples = self._look_at_samples(fake)
            of_discriminator = self._look_at_discriminator(trainer, pl_module, fake)
        return Verdict(of_samples.figures | of_discriminator.figures, of_samples.findings + of_discriminator.findings)

    def _look_at_samples(self, fake: Tensor) -> Verdict:
        diversity, left_out = relative_diversity(self._real, fake), self._cells.left_out(fake)
        findings = []
        if diversity < self.least_diversity:
            findings.append(
                f"samples repeat each other: they are {diversity:.3g} times as far from their nearest fellows as real "
                "examples are"
            )
        if left_out > self.most_left_out:
            findings.append(f"samples leave out parts of the data: {left_out:.0%} of it have next to none near them")
        return Verdict({"diversity": diversity, "left_out": left_out}, findings)

    def _look_at_discriminator(self, trainer: Trainer, pl_module: LightningModule, fake: Tensor) -> Verdict:
        if not isinstance(pl_module, Discriminates):
            return Verdict({}, [])
        probabilities = [pl_module.probability_real(pl_module.scores(x)) for x in (self._real, fake)]
        if probabilities[0] is None:
            return Verdict({}, [])
        real, generated = (float(probability.mean()) for probability in probabilities)
        findings = []
        gradient = self._generator_gradient(trainer)
        if gradient is not None:
            self._largest_gradient = max(self._largest_gradient, gradient)
            vanished = gradient < VANISHED * self._largest_gradient
            if vanished and real >= SURE and generated <= 1 - SURE:
                findings.append(
                    f"the discriminator is sure (probability of being real: {real:.3g} of real examples, "
                    f"{generated:.3g} of samples) while the generator's gradient, of norm {gradient:.3g}, has vanished"
                )
        return Verdict({"probability_real_of_real": real, "probability_real_of_fake": generated}, findings)

    def _generator_gradient(self, trainer: Trainer) -> float | None:
        norms = [callback.last for callback in trainer.callbacks if isinstance(callback, GradientNorms)]
        return float(norms[0]["generator"]) if norms and "generator" in norms[0] else None

    def _split(self, trainer: Trainer) -> str:
        if self.reference is not None:
            return self.reference
        return "val" if trainer.datamodule.num_examples("val") >= 10 * self.num_cells else "train"

    def _named(self, split: str, verdict: Verdict, raised: bool) -> dict[str, float]:
        figures = {f"{split}/collapse_{name}": value for name, value in verdict.figures.items()}
        return {f"{split}/collapse": float(raised)} | figures
