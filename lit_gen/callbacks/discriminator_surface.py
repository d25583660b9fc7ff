"""What the discriminator thinks of every place on the line or in the plane."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.charts import curves_and_samples, square_around, surface
from lit_gen.callbacks.discriminator_confidence import check_discriminates
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.intervals import EpochPicture
from lit_gen.callbacks.pictures import save_picture
from lit_gen.callbacks.real_examples import check_reference, held_out_or_train, real_examples
from lit_gen.callbacks.sample_figures import shared_draw
from lit_gen.errors import UserError
from lit_gen.randomness import derive_seed

ROWS = 500
"""Places judged at once: layers that compare all examples of a batch need memory of its square."""


class DiscriminatorSurface(EpochPicture):
    """Saves ``samples/discriminator_<step>.png``: the discriminator over the space of points, with data and samples.

    In the plane contours of the probability of being real, D(x), or of the raw score where scores are no logits. On
    the line the curve of it with the density of the data, where it is known, and histograms of data and samples:
    Goodfellow et al., Generative Adversarial Nets (2014), Fig. 1, https://arxiv.org/abs/1406.2661

    Args:
        every_n_epochs: a picture at the end of every n-th epoch.
        at_start: also one of the untrained model, at step 0.
        num_points: points of the data and of the model in a picture.
        resolution: places along each axis at which the discriminator is asked.
        seed: names the noise.

    Raises:
        UserError: on counts out of range; at setup, a model without a discriminator to ask or without samples, or
            data that aren't points of the line or the plane; in drawing, one that judges several examples at once.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        at_start: bool = True,
        num_points: int = 1000,
        resolution: int = 100,
        seed: int = 0,
    ) -> None:
        for name, value, least in [
            ("every_n_epochs", every_n_epochs, 1),
            ("num_points", num_points, 1),
            ("resolution", resolution, 2),
        ]:
            if value < least:
                raise UserError(f"DiscriminatorSurface needs {name} of at least {least}, got {value}.")
        super().__init__(every_n_epochs, at_start)
        self.num_points = num_points
        self.resolution = resolution
        self.seed = seed
        self._real: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_discriminates(self, pl_module)
        check_reference(self, trainer)
        check_points(self, trainer)

    def save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See the base class."""
        if self._real is None:
            split = held_out_or_train(trainer)
            self._real = real_examples(trainer, split, self.num_points, pl_module.device)
        # Every rank draws, though one picture is kept: a model whose weights are sharded needs all of them.
        with eval_mode(pl_module):
            fake = shared_draw(pl_module, self.num_points, derive_seed(self.seed, "discriminator surface"))
            picture = self._draw(trainer, pl_module, fake)
        save_picture(trainer, "discriminator", picture, "what the discriminator makes of each place")

    def _draw(self, trainer: Trainer, model: LightningModule, fake: Tensor) -> Image.Image:
        axes = [torch.linspace(*ends, self.resolution, device=fake.device) for ends in square_around(self._real)]
        if len(axes) == 1:
            places = axes[0][:, None]
            name, values = self._ask(model, places)
            log_prob = getattr(trainer.datamodule, "log_prob", None)
            known = {} if log_prob is None else {"data's density": log_prob(places).exp()}
            return curves_and_samples(axes[0], known, self._real[:, 0], fake[:, 0], {name: values})
        places = torch.cartesian_prod(*axes)
        name, values = self._ask(model, places)
        values = values.view(self.resolution, self.resolution).T  # rows are the vertical axis
        return surface(*axes, values, self._real, fake, name)

    def _ask(self, model: LightningModule, places: Tensor) -> tuple[str, Tensor]:
        """What the values are called, and one for each of (P, D) places."""
        scores = torch.cat([model.scores(part) for part in places.split(ROWS)])
        if scores.shape != places.shape[:1]:
            raise UserError(
                "DiscriminatorSurface needs one score a point, but this discriminator judges several at once; take "
                "the callback out of the config."
            )
        probability = model.probability_real(scores)
        return ("score", scores) if probability is None else ("D(x)", probability)


def check_points(callback: Callback, trainer: Trainer) -> None:
    """Refuse data that aren't points of the line or the plane.

    Raises:
        UserError: says so.
    """
    shape = tuple(trainer.datamodule.event_shape)
    if shape not in ((1,), (2,)):
        raise UserError(
            f"{type(callback).__name__} draws points of the line or the plane, but an example of these data has shape "
            f"{shape}; take the callback out of the config."
        )
