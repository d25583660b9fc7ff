"""Generative adversarial networks."""

from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam

from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.frozen import frozen
from lit_gen.models.manual import ManualOptimizationModel
from lit_gen.models.moving_average import ExponentialMovingAverage
from lit_gen.protocols import Batch
from lit_gen.randomness import make_generator


class GAN(ManualOptimizationModel):
    """A generator and a discriminator that play against each other; the objective says for what.

    Goodfellow et al., Generative Adversarial Nets (2014), Algorithm 1, https://arxiv.org/abs/1406.2661

    Every batch is one step of the discriminator, on examples it has not seen in this epoch; every
    ``discriminator_steps``-th batch is one step of the generator too, on latents of its own.

    Args:
        generator: latents (B, prior.dim) -> examples (B, *event_shape); pixels in [0, 1].
        discriminator: examples -> scores (B,).
        prior: called, gives the distribution of latents; has ``dim``.
        objective: the losses as functions of scores.
        generator_optimizer: makes the generator's optimizer from its parameters.
        discriminator_optimizer: makes the discriminator's.
        generator_scheduler: makes the generator's learning-rate schedule from its optimizer; it counts batches.
        discriminator_scheduler: makes the discriminator's; it counts batches.
        discriminator_steps: steps of the discriminator for each of the generator.
        ema_decay: where given, samples come from an exponential moving average of the generator's weights and
            buffers, updated at each of its steps; Yazici et al. (2019), https://arxiv.org/abs/1806.04498
        gradient_clip_norm: see ``ManualOptimizationModel``.
        num_micro_batches: see ``ManualOptimizationModel``.

    Raises:
        UserError: a number out of range; in ``setup``, parts that don't fit each other or the data.
    """

    progress_bar_terms = ("discriminator_loss", "generator_loss")

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        prior: nn.Module,
        objective: nn.Module,
        generator_optimizer: OptimizerCallable = Adam,
        discriminator_optimizer: OptimizerCallable = Adam,
        generator_scheduler: LRSchedulerCallable | None = None,
        discriminator_scheduler: LRSchedulerCallable | None = None,
        discriminator_steps: int = 1,
        ema_decay: float | None = None,
        gradient_clip_norm: float | None = None,
        num_micro_batches: int = 1,
    ) -> None:
        super().__init__(gradient_clip_norm, num_micro_batches)
        if discriminator_steps < 1:
            raise UserError(f"discriminator_steps must be at least 1, got {discriminator_steps}")
        if ema_decay is not None and not 0.0 <= ema_decay < 1.0:
            raise UserError(f"ema_decay must be in [0, 1) or null, got {ema_decay}")
        self.generator = generator
        self.discriminator = discriminator
        self.prior = prior
        self.objective = objective
        self.generator_average = None if ema_decay is None else ExponentialMovingAverage(generator, ema_decay)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_scheduler = generator_scheduler
        self.discriminator_scheduler = discriminator_scheduler
        self.discriminator_steps = discriminator_steps
        self._generator_terms: dict[str, Tensor] = {}

    def play(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        x = batch.x  # (B, *event_shape)
        num = x.shape[0]
        terms = self.step_player(
            self.discriminator, 0, "discriminator_loss", self._discriminator_terms, x, self._latents(num)
        )
        if (batch_number + 1) % self.discriminator_steps == 0:
            generator_terms = self.step_player(
                self.generator,
                1,
                "generator_loss",
                self._generator_losses,
                x,
                self._latents(num),
                num_batches=self.discriminator_steps,
            )
            self._generator_terms.update(generator_terms)  # setting a module's attribute is slow
            if self.generator_average is not None:
                self.generator_average.update_parameters(self.generator)
        # Between the generator's steps its last loss stands, so that every row of the log has the same columns.
        return terms | self._generator_terms

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The loss that stands may be logged once more before the generator's first step after a resumption.
        checkpoint["generator_terms"] = dict(self._generator_terms)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._generator_terms = checkpoint.get("generator_terms", {})

    def on_train_start(self) -> None:
        self._generator_terms = {name: value.to(self.device) for name, value in self._generator_terms.items()}

    def _latents(self, num: int) -> Tensor:
        return self.prior().sample((num,))  # (num, dim)

    def _scores(self, x: Tensor) -> Tensor:
        return self.discriminator(x).float()  # (B,); losses are computed in single precision

    def _discriminator_terms(self, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            generated = self.generator(z)
        real, fake = self._scores(x), self._scores(generated)
        loss = self.objective.discriminator_loss(real=real, fake=fake)
        return {"discriminator_loss": loss, "real_score": real, "fake_score": fake}

    def _generator_losses(self, x: Tensor, z: Tensor) -> dict[str, Tensor]:
        generated = self.generator(z)
        with frozen(self.discriminator):
            real = self._scores(x) if self.objective.generator_uses_real else None
            fake = self._scores(generated)
        return {"generator_loss": self.objective.generator_loss(real=real, fake=fake)}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        z = self._latents(len(batch.x))
        terms = self._discriminator_terms(batch.x, z)
        loss = self.objective.generator_loss(real=terms["real_score"], fake=terms["fake_score"])
        return terms | {"generator_loss": loss}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The discriminator's scores of the batch, (B,)."""
        return self._scores(batch.x)

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape) draws, pixels in [0, 1], of the averaged generator where there is one."""
        generator = self.generator if self.generator_average is None else self.generator_average
        return generator(self._latents(num_samples)).float()

    def configure_optimizers(self):
        discriminator = self.discriminator_optimizer(self.discriminator.parameters())
        generator = self.generator_optimizer(self.generator.parameters())
        schedulers = [
            make(optimizer)
            for make, optimizer in (
                (self.discriminator_scheduler, discriminator),
                (self.generator_scheduler, generator),
            )
            if make is not None
        ]
        return [discriminator, generator], schedulers

    def setup(self, stage: str) -> None:
        super().setup(stage)
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        generator = make_generator("GAN dry run")
        z = torch.randn(2, self.prior.dim, generator=generator).to(self.device)
        x = try_network("the generator", self.generator, z, "the prior's latents")
        if tuple(x.shape[1:]) != shape:
            raise UserError(f"the generator makes examples of shape {tuple(x.shape[1:])}, but the data's are {shape}")
        if len(shape) == 3 and not (x.min() >= 0.0 and x.max() <= 1.0):
            raise UserError(
                f"the generator's pixels must lie in [0, 1], got {float(x.min()):.3g} to {float(x.max()):.3g}: move "
                f"its output there at its own edge, as (tanh + 1) / 2"
            )
        scores = try_network("the discriminator", self.discriminator, x, "the data's examples")
        if tuple(scores.shape) != (2,):
            raise UserError(
                f"the discriminator must give one score for each example, (B,), but gave {tuple(scores.shape)} for "
                f"B = 2"
            )
