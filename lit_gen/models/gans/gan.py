"""Generative adversarial networks."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam

from lit_gen.distributed import sum_over_ranks, world_size
from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, undisturbed
from lit_gen.models.frozen import frozen
from lit_gen.models.gans.checks import check_game
from lit_gen.models.gans.references import networks_with_reference, reference_examples
from lit_gen.models.gans.terms import Due, terms_of
from lit_gen.models.manual import ManualOptimizationModel
from lit_gen.models.moving_average import ExponentialMovingAverage
from lit_gen.networks.examplewise import is_examplewise
from lit_gen.objectives.adversarial.base import has_state
from lit_gen.protocols import Batch, FollowsSteps, Game, Judged, ReadsFeatures
from lit_gen.randomness import derive_seed, run_seed, seeded
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer, acts_after_step
from lit_gen.regularizers.adversarial.input_gradients import input_gradients
from lit_gen.tensor import at_least_single, mean_over_batch


class GAN(ManualOptimizationModel):
    """A generator and a discriminator that play against each other; the objective says for what.

    Goodfellow et al., Generative Adversarial Nets (2014), Algorithm 1, https://arxiv.org/abs/1406.2661

    Every batch is one step of the discriminator, on examples it has not seen in this epoch; every
    ``discriminator_steps``-th batch is one step of the generator too, on latents of its own. A discriminator's step
    generates one batch without a graph and judges it and the real one once each, in one pass where the discriminator
    treats each example by itself and no regularizer in that step looks closer, at features or at slopes on one side
    alone; a generator's step judges real examples only where the objective or a regularizer looks at them.

    Args:
        generator: latents (B, prior.dim) -> examples (B, *event_shape); pixels in [0, 1].
        discriminator: examples -> scores (B,).
        prior: called, gives the distribution of latents; has ``dim``.
        objective: the losses as functions of scores.
        regularizers: what is added to either player's loss, or done after its steps; each is logged by its name.
        generator_optimizer: makes the generator's optimizer from its parameters.
        discriminator_optimizer: makes the discriminator's; two learning rates are Heusel et al.'s (2017) two time-scale
            update rule, https://arxiv.org/abs/1706.08500
        generator_scheduler: makes the generator's learning-rate schedule from its optimizer; it counts batches.
        discriminator_scheduler: makes the discriminator's; it counts batches.
        discriminator_steps: steps of the discriminator for each of the generator.
        adversarial_weight: of the objective in the generator's loss; 0 leaves it to the regularizers, as feature
            matching does.
        ema_decay: where given, samples come from an exponential moving average of the generator's weights and
            buffers, updated at each of its steps; Yazici et al. (2019), https://arxiv.org/abs/1806.04498
        gradient_clip_norm: see ``ManualOptimizationModel``.
        num_micro_batches: see ``ManualOptimizationModel``.

    Raises:
        UserError: a number out of range; in ``setup``, parts that don't fit each other or the data.
    """

    progress_bar_terms = ("discriminator_loss", "generator_loss")
    looks_through_steps = False
    """Whether the generator's gradient passes through steps of the discriminator, which differentiates it twice."""
    makes_leaves = False
    """Whether a loss without regularizers depends on leaves with gradients other than those of the player that steps: a
    subclass that makes such says so."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        prior: nn.Module,
        objective: nn.Module,
        regularizers: list[AdversarialRegularizer] | None = None,
        generator_optimizer: OptimizerCallable = Adam,
        discriminator_optimizer: OptimizerCallable = Adam,
        generator_scheduler: LRSchedulerCallable | None = None,
        discriminator_scheduler: LRSchedulerCallable | None = None,
        discriminator_steps: int = 1,
        adversarial_weight: float = 1.0,
        ema_decay: float | None = None,
        gradient_clip_norm: float | None = None,
        num_micro_batches: int = 1,
    ) -> None:
        super().__init__(gradient_clip_norm, num_micro_batches)
        if discriminator_steps < 1:
            raise UserError(f"discriminator_steps must be at least 1, got {discriminator_steps}")
        if not adversarial_weight >= 0:
            raise UserError(f"adversarial_weight must not be negative, got {adversarial_weight}")
        if ema_decay is not None and not 0.0 <= ema_decay < 1.0:
            raise UserError(f"ema_decay must be in [0, 1) or null, got {ema_decay}")
        self.generator = generator
        self.discriminator = discriminator
        self.prior = prior
        self.objective = objective
        self.regularizers = nn.ModuleList(regularizers or [])
        self.generator_average = None if ema_decay is None else ExponentialMovingAverage(generator, ema_decay)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_scheduler = generator_scheduler
        self.discriminator_scheduler = discriminator_scheduler
        self.discriminator_steps = discriminator_steps
        self.adversarial_weight = adversarial_weight
        for regularizer in self.regularizers:
            regularizer.join(generator, discriminator)
        self._terms = terms_of(self.regularizers)
        self._acting = [regularizer for regularizer in self.regularizers if acts_after_step(regularizer)]
        self._following: list[FollowsSteps] = []
        self._listed: list[nn.Parameter] = []  # the discriminator's, while fitting
        self._standing: dict[str, Tensor] = {}
        self._state_is_observed = has_state(objective)
        self._is_examplewise = False

    def play(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        x = batch.x  # (B, *event_shape)
        for part in self._following:
            part.at_step(batch_number)
        standing = self._standing  # setting a module's attribute is slow
        standing |= self._step("discriminator", batch_number, x)
        if (batch_number + 1) % self.discriminator_steps == 0:
            standing |= self._step("generator", batch_number // self.discriminator_steps, x, self.discriminator_steps)
            if self._state_is_observed:
                names = "real_score", "generated_score"
                real, fake = sum_over_ranks(torch.stack([standing[name] for name in names])) / world_size()
                self.objective.observe(real=real, fake=fake)
            if self.generator_average is not None:
                self.generator_average.update_parameters(self.generator)
        # A term that is not of every step stands until its next, so that every row of the log has the same columns.
        return dict(standing)

    def _step(self, player: str, count: int, x: Tensor, num_batches: int = 1) -> dict[str, Tensor]:
        """One player's step, its ``count``-th from 0."""
        due = [
            Due(name, regularizer, regularizer.noise(x))
            for name, regularizer in self._terms[player]
            if count % regularizer.every_n_steps == 0
        ]
        network, index, losses = (
            (self.discriminator, 0, self._discriminator_terms)
            if player == "discriminator"
            else (self.generator, 1, self._generator_terms)
        )

        def terms(x: Tensor, z: Tensor, *noise: Tensor) -> dict[str, Tensor]:
            slices = iter(noise)
            return losses(x, z, [term._replace(noise=tuple(islice(slices, len(term.noise)))) for term in due])

        noise = [tensor for term in due for tensor in term.noise]
        tensors = x, self.draw_latents(len(x)), *noise
        # Fakes come without a graph or through a discriminator that is frozen: other leaves are made by regularizers.
        options = {"num_batches": num_batches, "meets_other_leaves": bool(due) or self.makes_leaves}
        means = self.step_player(network, index, f"{player}_loss", terms, *tensors, **options)
        for regularizer in self._acting:
            if regularizer.player == player:
                regularizer.after_step(network)
        return means

    def _judge(self, x: Tensor, with_features: bool) -> Judged:
        if not with_features:
            return Judged(x, self.scores(x))
        if isinstance(self.discriminator, ReadsFeatures):
            features = self.discriminator.features(x)
            return Judged(x, at_least_single(self.discriminator.from_features(features)), at_least_single(features))
        judged = self.discriminator.judge(x)
        return Judged(x, at_least_single(judged.scores), at_least_single(judged.features))

    def _judge_together(self, real: Tensor, fake: Tensor, with_gradients: bool) -> tuple[Judged, Judged]:
        """Both in one pass, and the scores' gradients in both by one more."""
        examples, num = torch.cat([real, fake]), len(real)
        scores = self.scores(examples)
        if not with_gradients:
            return Judged(real, scores[:num]), Judged(fake, scores[num:])
        gradients = input_gradients(Judged(examples, scores))
        return (
            Judged(real, scores[:num], gradients=gradients[:num]),
            Judged(fake, scores[num:], gradients=gradients[num:]),
        )

    def _discriminator_terms(self, x: Tensor, z: Tensor, due: Sequence[Due] = ()) -> dict[str, Tensor]:
        with torch.no_grad():
            generated = self.generator(z)
        return self._discriminator_loss(x, generated, due)

    def _discriminator_loss(self, x: Tensor, generated: Tensor, due: Sequence[Due]) -> dict[str, Tensor]:
        """The discriminator's terms on real and generated examples: (B,) each, or ()."""
        regularizers = [term.regularizer for term in due]
        differentiated = {name for regularizer in regularizers for name in regularizer.differentiates}
        with_features = any(regularizer.needs_features for regularizer in regularizers)
        if "real" in differentiated:
            x = _own(x)
        if "fake" in differentiated:
            generated = _own(generated)
        # Slopes on one side, taken in a joint pass, would be taken on both.
        together = self._is_examplewise and not with_features and len(differentiated) != 1
        if together and x.shape == generated.shape:
            real, fake = self._judge_together(x, generated, with_gradients=bool(differentiated))
        else:
            real, fake = self._judge(x, with_features), self._judge(generated, with_features)
        loss = self.objective.discriminator_loss(real=real.scores, fake=fake.scores)
        terms = {"discriminator_loss": loss, "real_score": real.scores, "fake_score": fake.scores}
        return self._regularized(terms, "discriminator_loss", due, real, fake)

    def _generator_terms(self, x: Tensor, z: Tensor, due: Sequence[Due] = ()) -> dict[str, Tensor]:
        generated = self.generator(z)
        with frozen(self._listed or self.discriminator):
            return self._generator_loss(x, generated, due)

    def _generator_loss(self, x: Tensor, generated: Tensor, due: Sequence[Due]) -> dict[str, Tensor]:
        """The generator's terms against the discriminator as it is: (B,) each, or ()."""
        regularizers = [term.regularizer for term in due]
        with_features = any(regularizer.needs_features for regularizer in regularizers)
        sees_real = self.objective.generator_uses_real or any(regularizer.needs_real for regularizer in regularizers)
        real = self._judge(x, with_features) if sees_real else None
        fake = self._judge(generated, with_features)
        loss = self.objective.generator_loss(real=None if real is None else real.scores, fake=fake.scores)
        if self.adversarial_weight != 1.0:
            loss = self.adversarial_weight * loss
        terms = {"generator_loss": loss}
        if self._state_is_observed:
            terms["generated_score"] = fake.scores
        return self._regularized(terms, "generator_loss", due, real, fake)

    def _regularized(
        self, terms: dict[str, Tensor], minimized: str, due: Sequence[Due], real: Judged | None, fake: Judged
    ) -> dict[str, Tensor]:
        """``terms`` with those of the regularizers that are due, also added to the one that is minimised."""
        for name, regularizer, noise in due:
            # Means first: a penalty may have one value for several examples.
            value = regularizer(Game(self.generator, self.discriminator, real, fake, noise))
            terms[name] = mean = mean_over_batch(value)
            weight = regularizer.weight * regularizer.every_n_steps
            terms[minimized] = mean_over_batch(terms[minimized]).add(mean, alpha=weight)
        return terms

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # What stands may be logged once more before its next step after a resumption.
        checkpoint["standing_terms"] = dict(self._standing)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._standing = checkpoint.get("standing_terms", {})

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self._listed = list(self.discriminator.parameters())
        players = (self.generator, self.discriminator)
        parts = [part for player in players for part in player.modules() if isinstance(part, FollowsSteps)]
        self._following = [*parts, *(part for part in self.regularizers if callable(part.schedule))]

    def on_fit_end(self) -> None:
        self._listed = []

    def on_train_start(self) -> None:
        self._standing = {name: value.to(self.device) for name, value in self._standing.items()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        terms = self._discriminator_terms(batch.x, self.draw_latents(len(batch.x)))
        loss = self.objective.generator_loss(real=terms["real_score"], fake=terms["fake_score"])
        return terms | {"generator_loss": loss}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The discriminator's scores of the batch, (B,)."""
        return self.scores(batch.x)

    def scores(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B,) raw scores, in single precision at least; fewer for packs of examples."""
        return at_least_single(self.discriminator(x))

    def probability_real(self, scores: Tensor) -> Tensor | None:
        """Raw scores -> probabilities of being real; None where the objective's scores are no logits."""
        return self.objective.probability_real(scores)

    def draw_latents(self, num: int) -> Tensor:
        """(num, prior.dim) draws from the prior."""
        return self.prior().sample((num,))

    def from_latents(self, z: Tensor) -> Tensor:
        """(B, prior.dim) -> (B, *event_shape), pixels in [0, 1], by the averaged generator where there is one."""
        generator = self.generator if self.generator_average is None else self.generator_average
        return at_least_single(generator(z))

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape) draws, pixels in [0, 1], of the averaged generator where there is one."""
        return self.from_latents(self.draw_latents(num_samples))

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
        self._is_examplewise = is_examplewise(self.discriminator)
        shape = data_shape(self)
        if shape is None:
            return
        self._set_references()
        with undisturbed(self, self.device):
            check_game(self, shape)

    def _set_references(self) -> None:
        """Give each network that looks at a reference batch one: training examples, or latents; alike on all ranks.

        A checkpoint that is loaded after this brings its own.
        """
        data, device = self.trainer.datamodule, self.trainer.strategy.root_device
        for network in networks_with_reference(self.discriminator):
            network.set_reference(reference_examples(data, network.num_reference, device))
        for generator in (self.generator, self.generator_average):
            for network in [] if generator is None else networks_with_reference(generator):
                with seeded(derive_seed(run_seed(), "reference latents"), self.device):
                    network.set_reference(self.draw_latents(network.num_reference))


def _own(x: Tensor) -> Tensor:
    """``x`` as a node of this step's alone: the weights may depend on ``x`` too, by steps that are looked through."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
