"""A conditional VAE whose generator matches the mean features of a discriminator and a classifier."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence
from torch.nn import functional as F
from torch.optim import Adam

from lit_gen.distributed import sum_over_ranks
from lit_gen.distributions.normal import DiagonalNormal
from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.frozen import frozen
from lit_gen.models.manual import ManualOptimizationModel
from lit_gen.models.vaes.base import log_px_at
from lit_gen.models.vaes.condition import ClassLabel
from lit_gen.models.vaes.vae import Prediction
from lit_gen.models.vaes.vae_gan import check_features, check_made, check_posterior, discriminator_terms
from lit_gen.objectives.variational import draw
from lit_gen.protocols import Batch
from lit_gen.tensor import at_least_single, sum_except_batch


class MeanGap(NamedTuple):
    """How far the generated examples' mean features are from the real ones', in each group of examples.

    Attributes:
        gap: (G, F), real minus generated; 0 for a group without examples.
        share: (G,), the group's share of the joint batch.
        value: (), half the sum of squares of ``gap``.
    """

    gap: Tensor
    share: Tensor
    value: Tensor


@torch.no_grad()
def mean_gap(real: Tensor, generated: Tensor, group: Tensor, num_groups: int) -> MeanGap:
    """The gap over the joint batch of all ranks, in one collective call.

    Args:
        real: (B, F) features.
        generated: (B, F) features, of the same groups.
        group: (B,), each example's group in [0, num_groups).
        num_groups: G.
    """
    sums = torch.zeros(num_groups, real.shape[1] + 1, device=real.device)
    ones = torch.ones(len(real), 1, device=real.device)
    sums = sum_over_ranks(sums.index_add_(0, group, torch.cat([at_least_single(real - generated), ones], 1)))
    count = sums[:, -1]
    gap = sums[:, :-1] / count.clamp_min(1.0).unsqueeze(1)
    return MeanGap(gap, count / count.sum(), 0.5 * gap.square().sum())


def mean_matching(gap: MeanGap, generated: Tensor, group: Tensor) -> Tensor:
    """(B, F) features of generated examples -> (B,), each ``gap.value``; the mean of their gradients is its own.

    The gradient of |m_real - m_generated|^2 / 2 is linear in the examples once the gap is known, so that slices of a
    batch, and ranks, add up to the joint batch.
    """
    pull = -(gap.gap[group] * at_least_single(generated)).sum(1) / gap.share[group]
    return gap.value + pull - pull.detach()


class CVAEGAN(ManualOptimizationModel):
    """A class-conditional VAE in a game with a discriminator and a classifier, asymmetrically trained.

    Bao, Chen, Wen, Li & Hua, CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training (2017), Section 3,
    https://arxiv.org/abs/1703.10155. With x' the reconstruction of x in its class, x_p a sample of that class, f_D
    and f_C the two networks' features, the four players minimise, one after another in each batch,

    - classifier: the cross entropy of the real examples' classes;
    - discriminator: -log D(x) - log(1 - D(x')) - log(1 - D(x_p));
    - decoder: pair_weight * ``pair_error`` + discriminator_weight * |mean f_D(x) - mean f_D(x_p)|^2 / 2 +
      classifier_weight * sum over classes of |mean f_C(x) - mean f_C(x_p)|^2 / 2, the means over the joint batch;
    - encoder: kl_weight * ``kl`` + pair_weight * pair_error,

    where pair_error is half of |x - x'|^2 + |f_D(x) - f_D(x')|^2 + |f_C(x) - f_C(x')|^2. Left out: the moving
    averages of the classes' means over batches (they are the batch's own), and samples of classes other than the
    batch's. It has no likelihood of its own, for the reasons of ``VAEGAN``.

    Args:
        num_classes: of the data.
        encoder: examples (B, *event_shape) and one-hot labels -> the posterior's parameters.
        decoder: codes (B, Z) and one-hot labels -> examples (B, *event_shape); pixels in [0, 1].
        discriminator: examples -> scores (B,), read off features.
        classifier: examples -> logits (B, num_classes), read off features.
        posterior: head that makes q(z|x, c), a diagonal normal, of the encoder's output; without parameters.
        prior: called, gives p(z); has ``dim``.
        kl_weight: weight of the KL in the encoder's loss.
        pair_weight: weight of the pairwise error.
        discriminator_weight: weight of the mean match of the discriminator's features.
        classifier_weight: weight of the mean match of the classifier's features.
        optimizer: makes each player's optimizer from its parameters.
        scheduler: makes each player's learning-rate schedule from its optimizer; it counts batches.
        gradient_clip_norm: see ``ManualOptimizationModel``.
        num_micro_batches: see ``ManualOptimizationModel``.

    Raises:
        UserError: a network without features; in ``setup``, data without labels, or parts that don't fit each other
            or the data.
    """

    progress_bar_terms = ("encoder_loss", "decoder_loss", "discriminator_loss")

    def __init__(
        self,
        num_classes: int,
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: nn.Module,
        classifier: nn.Module,
        posterior: nn.Module,
        prior: nn.Module,
        kl_weight: float = 1.0,
        pair_weight: float = 1.0,
        discriminator_weight: float = 1.0,
        classifier_weight: float = 1.0,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
        gradient_clip_norm: float | None = None,
        num_micro_batches: int = 1,
    ) -> None:
        super().__init__(gradient_clip_norm, num_micro_batches)
        check_features("CVAEGAN's discriminator", discriminator)
        check_features("CVAEGAN's classifier", classifier)
        self.condition = ClassLabel(num_classes)
        self.num_classes = num_classes
        self.encoder = encoder
        self.decoder = decoder
        self.discriminator = discriminator
        self.classifier = classifier
        self.posterior = posterior
        self.prior = prior
        self.kl_weight = kl_weight
        self.pair_weight = pair_weight
        self.discriminator_weight = discriminator_weight
        self.classifier_weight = classifier_weight
        self.optimizer = optimizer
        self.scheduler = scheduler

    @property
    def conditions_on(self) -> str:
        """What is given in every likelihood of this model, in words."""
        return self.condition.description

    def play(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        x, c = batch.x, self.condition.given(batch.x, batch.label)
        noise, z = self._draws(len(x))
        terms = self.step_player(self.classifier, 0, "classifier_loss", self._classifier_terms, x, c)
        terms |= self.step_player(
            self.discriminator, 1, "discriminator_loss", self._discriminator_terms, x, c, noise, z
        )
        decoder_terms = partial(self._decoder_terms, *self._gaps(x, c, z))
        terms |= self.step_player(self.decoder, 2, "decoder_loss", decoder_terms, x, c, noise, z)
        return terms | self.step_player(self.encoder, 3, "encoder_loss", self._encoder_terms, x, c, noise)

    def _draws(self, num: int) -> tuple[Tensor, Tensor]:
        """The posterior's noise and codes from the prior, (num, Z) each."""
        z = self.prior().sample((num,))
        return torch.randn_like(z), z

    def _posterior(self, x: Tensor, c: Tensor) -> DiagonalNormal:
        return self.posterior(self.encoder(x, c))

    @torch.no_grad()
    def _code(self, x: Tensor, c: Tensor, noise: Tensor) -> Tensor:
        q = self._posterior(x, c)
        return q.loc + q.scale * noise

    def _classifier_terms(self, x: Tensor, c: Tensor) -> dict[str, Tensor]:
        logits, label = at_least_single(self.classifier(x)), c.argmax(1)
        hits = (logits.argmax(1) == label).to(logits.dtype)
        return {"classifier_loss": F.cross_entropy(logits, label, reduction="none"), "accuracy": hits}

    def _discriminator_terms(self, x: Tensor, c: Tensor, noise: Tensor, z: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            reconstruction, sample = self.decoder(self._code(x, c, noise), c), self.decoder(z, c)
        return discriminator_terms(
            *(at_least_single(self.discriminator(images)) for images in (x, reconstruction, sample))
        )

    @torch.no_grad()
    def _gaps(self, x: Tensor, c: Tensor, z: Tensor) -> tuple[MeanGap, MeanGap]:
        """Of the discriminator's features in all, and of the classifier's in each class."""
        sample, label = self.decoder(z, c), c.argmax(1)
        real_d, fake_d = (self.discriminator.features(images) for images in (x, sample))
        real_c, fake_c = (self.classifier.features(images) for images in (x, sample))
        return mean_gap(real_d, fake_d, torch.zeros_like(label), 1), mean_gap(real_c, fake_c, label, self.num_classes)

    def _pair_error(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """(B, *event_shape) twice -> (B,), of pixels and of both networks' features."""
        error = sum_except_batch(at_least_single(x - reconstruction).square())
        for network in (self.discriminator, self.classifier):
            error = error + at_least_single(network.features(x) - network.features(reconstruction)).square().sum(1)
        return 0.5 * error

    def _decoder_terms(
        self, gap_d: MeanGap, gap_c: MeanGap, x: Tensor, c: Tensor, noise: Tensor, z: Tensor
    ) -> dict[str, Tensor]:
        reconstruction, sample, label = self.decoder(self._code(x, c, noise), c), self.decoder(z, c), c.argmax(1)
        with frozen(self.discriminator), frozen(self.classifier):
            pair_error = self._pair_error(x, reconstruction)
            match_d = mean_matching(gap_d, self.discriminator.features(sample), torch.zeros_like(label))
            match_c = mean_matching(gap_c, self.classifier.features(sample), label)
        loss = self.pair_weight * pair_error + self.discriminator_weight * match_d + self.classifier_weight * match_c
        return {"decoder_loss": loss, "discriminator_match": match_d, "classifier_match": match_c}

    def _encoder_terms(self, x: Tensor, c: Tensor, noise: Tensor) -> dict[str, Tensor]:
        q = self._posterior(x, c)
        kl = kl_divergence(q, self.prior())
        with frozen(self.decoder), frozen(self.discriminator), frozen(self.classifier):
            pair_error = self._pair_error(x, self.decoder(q.loc + q.scale * noise, c))
        return {"encoder_loss": self.kl_weight * kl + self.pair_weight * pair_error, "kl": kl, "pair_error": pair_error}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Per-example terms; ``sample_accuracy`` says which samples the classifier finds to be of their class."""
        x, c = batch.x, self.condition.given(batch.x, batch.label)
        noise, z = self._draws(len(x))
        squared_error = sum_except_batch((x - self.decoder(self._code(x, c, noise), c)).square())
        sample_accuracy = self._classifier_terms(self.decoder(z, c), c)["accuracy"]
        terms = self._classifier_terms(x, c) | self._discriminator_terms(x, c, noise, z)
        terms |= self._encoder_terms(x, c, noise)
        return terms | {"squared_error": squared_error, "sample_accuracy": sample_accuracy}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        c = self.condition.given(batch.x, batch.label)
        code = self._posterior(batch.x, c).mean
        return Prediction(code, at_least_single(self.decoder(code, c)))

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape) draws, each class as likely."""
        return self.sample_classes(torch.randint(self.num_classes, (num_samples,), device=self.device))

    def sample_classes(self, label: Tensor) -> Tensor:
        """(B,) class indices -> (B, *event_shape)."""
        return at_least_single(self.decoder(self.prior().sample((len(label),)), self.condition.one_hot(label)))

    def log_weights_under(
        self,
        likelihood: Callable[[Tensor], Distribution],
        x: Tensor,
        num_samples: int,
        label: Tensor | None = None,
    ) -> Tensor:
        """(num_samples, B) values of log p(x|z, c) + log p(z) - log q(z|x, c) in nats, given the class."""
        c = self.condition.given(x, label)
        z, log_qz = draw(self._posterior(x, c), num_samples)

        def likelihood_at(codes: Tensor) -> Distribution:
            return likelihood(at_least_single(self.decoder(codes, c.repeat(len(codes) // len(c), 1))))

        return log_px_at(x, z, likelihood_at) + self.prior().log_prob(z) - log_qz

    def configure_optimizers(self):
        players = self.classifier, self.discriminator, self.decoder, self.encoder
        optimizers = [self.optimizer(player.parameters()) for player in players]
        return optimizers, [] if self.scheduler is None else [self.scheduler(one) for one in optimizers]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = self.trainer.datamodule
        if hasattr(data, "num_classes"):
            self.condition.check_classes(data.num_classes)
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        x, c = torch.rand(2, *shape, device=self.device), torch.eye(2, self.num_classes, device=self.device)
        beside = "(beside their classes)"
        encoder, decoder = partial(self.encoder, condition=c), partial(self.decoder, condition=c)
        check_posterior(self.posterior(try_network("the encoder", encoder, x, f"the examples {beside}")), self.prior)
        z = torch.randn(2, self.prior.dim, device=self.device)
        check_made(try_network("the decoder", decoder, z, f"the prior's codes {beside}"), shape)
        for name, network, wanted in (
            ("discriminator", self.discriminator, (2,)),
            ("classifier", self.classifier, (2, self.num_classes)),
        ):
            out = try_network(f"the {name}", network, x, "the data's examples")
            if tuple(out.shape) != wanted:
                raise UserError(f"the {name} must give {wanted} for 2 examples, but gave {tuple(out.shape)}")
