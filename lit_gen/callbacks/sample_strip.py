"""How what the model draws came to be: one picture with a panel for each of some steps."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.charts import strip
from lit_gen.callbacks.discriminator_surface import check_points
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.pictures import batches_done, save_picture
from lit_gen.callbacks.real_examples import check_reference, held_out_or_train, real_examples
from lit_gen.callbacks.sample_figures import check_samples, shared_draw
from lit_gen.errors import UserError
from lit_gen.randomness import derive_seed

STEPS = (0, 5_000, 10_000, 15_000, 20_000, 25_000)


class SampleStrip(Callback):
    """Saves ``samples/sample_strip_<step>.png``: the data's density and the samples' at given steps, side by side.

    The figure by which Metz et al., Unrolled GANs (2017), Fig. 2, https://arxiv.org/abs/1611.02163, show a game's
    course, for points of the line or the plane. It is written at each of the steps, with those before, and at the end
    of training, with a panel of the final model. All panels are drawn from the same noise; the samples are part of
    checkpoints, so that a resumed run's picture is whole.

    Args:
        steps: numbers of batches after which to draw, 0 for the untrained model.
        num_points: points in a panel.
        seed: names the noise.

    Raises:
        UserError: no or negative steps, or a count below 1; at setup, a model that can't be drawn from, or data that
            aren't points of the line or the plane.
    """

    def __init__(self, steps: Sequence[int] = STEPS, num_points: int = 5_000, seed: int = 0) -> None:
        if not steps or min(steps) < 0 or num_points < 1:
            raise UserError(
                f"SampleStrip needs steps of at least 0 and num_points of at least 1, got {list(steps)}, {num_points}."
            )
        self.steps = frozenset(steps)
        self.num_points = num_points
        self.seed = seed
        self._kept: dict[int, Tensor] = {}
        self._saved_at = -1

    def state_dict(self) -> dict[str, Any]:
        """The samples of the steps so far."""
        return {"kept": dict(self._kept)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self._kept = dict(state_dict["kept"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_samples(self, pl_module)
        check_reference(self, trainer)
        check_points(self, trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if batches_done(trainer) == 0 and 0 in self.steps:
            self._keep(trainer, pl_module, 0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int) -> None:
        step = batches_done(trainer)
        if step in self.steps:
            self._keep(trainer, pl_module, step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = batches_done(trainer)
        if self._saved_at != step:
            # Not kept: a run that goes on from here has the panels of a run that never ended here.
            self._save(trainer, pl_module, {**self._kept, step: self._drawn(pl_module)})

    def _keep(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        self._kept[step] = self._drawn(pl_module)
        self._save(trainer, pl_module, self._kept)

    def _drawn(self, pl_module: LightningModule) -> Tensor:
        # Every rank draws, though one picture is kept: a model whose weights are sharded needs all of them.
        with eval_mode(pl_module):
            return shared_draw(pl_module, self.num_points, derive_seed(self.seed, "sample strip")).float().cpu()

    def _save(self, trainer: Trainer, pl_module: LightningModule, drawn: Mapping[int, Tensor]) -> None:
        self._saved_at = batches_done(trainer)
        data = real_examples(trainer, held_out_or_train(trainer), self.num_points, pl_module.device)
        panels = {"data": data} | {f"step {step:,}": drawn[step] for step in sorted(drawn)}
        if trainer.is_global_zero:
            title = f"densities of the data and of {self.num_points:,} samples in the course of training"
            save_picture(trainer, "sample_strip", strip(panels), title)
