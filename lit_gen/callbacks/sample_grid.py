"""Pictures of what the model draws, from the same noise each time."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.intervals import EpochPicture
from lit_gen.callbacks.pictures import picture_of, save_picture
from lit_gen.errors import UserError
from lit_gen.protocols import Samples
from lit_gen.randomness import derive_seed, seeded


class SampleGrid(EpochPicture):
    """Draws from the model and saves the picture as ``samples/samples_<step>.png``.

    Every picture starts from the same noise, so that what changes between two of them is the model; training draws
    what it would have drawn without them. Points of the plane are drawn beside as many of the validation split.

    Args:
        num_samples: images in a picture.
        every_n_epochs: a picture at the end of every n-th epoch.
        at_start: also one of the untrained model, at step 0.
        seed: names the noise.
        num_points: points in a picture where the data are points of the plane.

    Raises:
        UserError: on counts below 1; at setup, if the model can't be drawn from.
    """

    def __init__(
        self,
        num_samples: int = 64,
        every_n_epochs: int = 1,
        at_start: bool = True,
        seed: int = 0,
        num_points: int = 2000,
    ) -> None:
        for name, value in [
            ("num_samples", num_samples),
            ("every_n_epochs", every_n_epochs),
            ("num_points", num_points),
        ]:
            if value < 1:
                raise UserError(f"SampleGrid needs {name} of at least 1, got {value}.")
        super().__init__(every_n_epochs, at_start)
        self.num_samples = num_samples
        self.seed = seed
        self.num_points = num_points
        self._beside: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Samples):
            raise UserError(
                f"SampleGrid can't draw from a {type(pl_module).__name__}: it has no sample(num_samples); "
                "take the callback out of the config."
            )

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See the base class."""
        plane = tuple(getattr(trainer.datamodule, "event_shape", ())) == (2,)
        # Every rank draws, though one picture is kept: a model whose weights are sharded needs all of them.
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "sample_grid"), pl_module.device):
            x = pl_module.sample(self.num_points if plane else self.num_samples)
        if trainer.is_global_zero:
            picture = picture_of(x, beside=self._data(trainer) if plane else None, name="samples")
            save_picture(trainer, "samples", picture, f"{len(x):,} samples")

    def _data(self, trainer: Trainer) -> Tensor | None:
        if self._beside is None and hasattr(trainer.datamodule, "reference_loader"):
            parts, count = [], 0
            for batch in trainer.datamodule.reference_loader("val"):
                parts.append(batch.x[: self.num_points - count].cpu())
                count += len(parts[-1])
                if count >= self.num_points:
                    break
            self._beside = torch.cat(parts) if parts else None
        return self._beside
