"""Autoencoding beyond pixels: a VAE whose decoder is a GAN's generator and whose similarity is a discriminator's."""

from collections.abc import Callable

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence
from torch.nn.functional import softplus
from torch.optim import Adam

from lit_gen.distributions.normal import DiagonalNormal
from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.frozen import frozen
from lit_gen.models.manual import ManualOptimizationModel
from lit_gen.models.vaes.base import log_px_at
from lit_gen.models.vaes.vae import Prediction
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.variational import draw
from lit_gen.protocols import Batch, ReadsFeatures
from lit_gen.tensor import at_least_single, sum_except_batch


class VAEGAN(ManualOptimizationModel):
    """A variational autoencoder with a learned similarity, and the game of a GAN around its decoder.

    Larsen, Sønderby, Larochelle & Winther, Autoencoding beyond pixels using a learned similarity metric (2016),
    Section 2.3 and Algorithm 1, https://arxiv.org/abs/1512.09300. With f the discriminator's features, x' the
    reconstruction of x and x_p a sample, the three players minimise

    - encoder: ``kl`` + ``feature_error``, the latter |f(x) - f(x')|^2 / (2 feature_std^2), minus the log of a normal
      density of the features but for its constant;
    - decoder: gamma * feature_error + ``adversarial``, the objective's loss of the reconstruction and of the sample;
    - discriminator: -log D(x) - log(1 - D(x')) - log(1 - D(x_p)).

    They step one after another in each batch, from the same noise, each at the weights that the others have by then;
    Algorithm 1 takes all three gradients first. Terms are summed over the event, one value an example;
    ``squared_error`` (evaluation) is |x - x'|^2.

    The likelihood of features is no density of pixels, and its features change as the discriminator learns: the model
    has no likelihood of its own, and ``Likelihood`` refuses it; ``PixelLikelihood`` lends it a density of pixels.

    Args:
        encoder: examples (B, *event_shape) -> the posterior's parameters.
        decoder: codes (B, Z) -> examples (B, *event_shape); pixels in [0, 1].
        discriminator: examples -> scores (B,), read off features: it has ``features`` and ``from_features``.
        posterior: head that makes q(z|x), a diagonal normal, of the encoder's output; it has no parameters of its own.
        prior: called, gives p(z); has ``dim``.
        objective: whose ``generator_loss`` the decoder minimises: ``Minimax`` is Algorithm 1's, ``NonSaturating`` the
            usual one in its place.
        feature_std: of the features' density; 1 is the paper's. Where features are few and small, as of small images,
            it costs less than the KL to tell nothing by the code.
        gamma: weight of the feature error for the decoder, against the game.
        optimizer: makes each player's optimizer from its parameters.
        scheduler: makes each player's learning-rate schedule from its optimizer; it counts batches.
        gradient_clip_norm: see ``ManualOptimizationModel``.
        num_micro_batches: see ``ManualOptimizationModel``.

    Raises:
        UserError: a number out of range; a discriminator without features; in ``setup``, parts that don't fit each
            other or the data.
    """

    progress_bar_terms = ("encoder_loss", "decoder_loss", "discriminator_loss")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        discriminator: nn.Module,
        posterior: nn.Module,
        prior: nn.Module,
        objective: Minimax | NonSaturating,
        feature_std: float = 1.0,
        gamma: float = 1.0,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
        gradient_clip_norm: float | None = None,
        num_micro_batches: int = 1,
    ) -> None:
        super().__init__(gradient_clip_norm, num_micro_batches)
        if not gamma >= 0:
            raise UserError(f"VAEGAN's gamma must not be negative, got {gamma}")
        if not feature_std > 0:
            raise UserError(f"VAEGAN's feature_std must be positive, got {feature_std}")
        check_features("VAEGAN's discriminator", discriminator)
        self.encoder = encoder
        self.decoder = decoder
        self.discriminator = discriminator
        self.posterior = posterior
        self.prior = prior
        self.objective = objective
        self.feature_std = feature_std
        self.gamma = gamma
        self.optimizer = optimizer
        self.scheduler = scheduler

    def play(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        x, noise, z = batch.x, *self._draws(len(batch.x))
        terms = self.step_player(self.encoder, 0, "encoder_loss", self._encoder_terms, x, noise)
        terms |= self.step_player(self.decoder, 1, "decoder_loss", self._decoder_terms, x, noise, z)
        return terms | self.step_player(
            self.discriminator, 2, "discriminator_loss", self._discriminator_terms, x, noise, z
        )

    def _draws(self, num: int) -> tuple[Tensor, Tensor]:
        """The posterior's noise and codes from the prior, (num, Z) each."""
        z = self.prior().sample((num,))
        return torch.randn_like(z), z

    def _posterior(self, x: Tensor) -> DiagonalNormal:
        return self.posterior(self.encoder(x))

    @torch.no_grad()
    def _code(self, x: Tensor, noise: Tensor) -> Tensor:
        q = self._posterior(x)
        return q.loc + q.scale * noise

    def _feature_error(self, of_x: Tensor, of_reconstruction: Tensor) -> Tensor:
        """(B, F), (B, F) -> (B,): minus the log-density, without its constant."""
        return 0.5 * (at_least_single(of_x - of_reconstruction) / self.feature_std).square().sum(1)

    def _encoder_terms(self, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
        q = self._posterior(x)
        kl = kl_divergence(q, self.prior())
        with frozen(self.decoder), frozen(self.discriminator):
            reconstruction = self.decoder(q.loc + q.scale * noise)
            features = self.discriminator.features
            error = self._feature_error(features(x), features(reconstruction))
        return {"encoder_loss": kl + error, "kl": kl, "feature_error": error}

    def _decoder_terms(self, x: Tensor, noise: Tensor, z: Tensor) -> dict[str, Tensor]:
        reconstruction, sample = self.decoder(self._code(x, noise)), self.decoder(z)
        with frozen(self.discriminator):
            of_reconstruction = self.discriminator.features(reconstruction)
            error = self._feature_error(self.discriminator.features(x), of_reconstruction)
            fakes = self.discriminator.from_features(of_reconstruction), self.discriminator(sample)
        adversarial = sum(self.objective.generator_loss(real=None, fake=at_least_single(fake)) for fake in fakes)
        return {"decoder_loss": self.gamma * error + adversarial, "adversarial": adversarial}

    def _discriminator_terms(self, x: Tensor, noise: Tensor, z: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            reconstruction, sample = self.decoder(self._code(x, noise)), self.decoder(z)
        scores = [at_least_single(self.discriminator(images)) for images in (x, reconstruction, sample)]
        return discriminator_terms(*scores)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        x, noise, z = batch.x, *self._draws(len(batch.x))
        terms = self._encoder_terms(x, noise) | self._decoder_terms(x, noise, z)
        squared_error = sum_except_batch((x - self.decoder(self._code(x, noise))).square())
        return terms | self._discriminator_terms(x, noise, z) | {"squared_error": squared_error}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        code = self.encode(batch.x)
        return Prediction(code, self.decode(code))

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): what the decoder makes of draws of z from the prior."""
        return self.from_latents(self.draw_latents(num_samples))

    def draw_latents(self, num: int) -> Tensor:
        """(num, Z) draws from the prior."""
        return self.prior().sample((num,))

    def from_latents(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), as ``decode``."""
        return self.decode(z)

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, Z), the mean of q(z|x)."""
        return self._posterior(x).mean

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape)."""
        return at_least_single(self.decoder(z))

    def log_weights_under(
        self,
        likelihood: Callable[[Tensor], Distribution],
        x: Tensor,
        num_samples: int,
        label: Tensor | None = None,
    ) -> Tensor:
        """(num_samples, B) values of log p(x|z) + log p(z) - log q(z|x) in nats; p(x|z) is of ``decoder(z)``."""
        z, log_qz = draw(self._posterior(x), num_samples)
        return log_px_at(x, z, lambda z: likelihood(self.decode(z))) + self.prior().log_prob(z) - log_qz

    def prior_quantile(self, probability: Tensor) -> Tensor:
        """Coordinates of z at cumulative probabilities in (0, 1), elementwise."""
        return self.prior.quantile(probability)

    def configure_optimizers(self):
        players = self.encoder, self.decoder, self.discriminator
        optimizers = [self.optimizer(player.parameters()) for player in players]
        return optimizers, [] if self.scheduler is None else [self.scheduler(one) for one in optimizers]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        dim = self.prior.dim
        x = torch.rand(2, *shape, device=self.device)
        q = self.posterior(try_network("the encoder", self.encoder, x, "the data's examples"))
        check_posterior(q, self.prior)
        z = torch.randn(2, dim, device=self.device)
        made = try_network("the decoder", self.decoder, z, "the prior's codes")
        check_made(made, shape)
        scores = try_network("the discriminator", self.discriminator, x, "the data's examples")
        if tuple(scores.shape) != (2,):
            raise UserError(
                f"the discriminator must give one score for each example, (B,), but gave {tuple(scores.shape)} for "
                f"B = 2"
            )


def discriminator_terms(real: Tensor, reconstructed: Tensor, sampled: Tensor) -> dict[str, Tensor]:
    """-L_GAN of Algorithm 1 as a function of scores, (B,) each, in nats; and the scores."""
    loss = softplus(-real) + softplus(reconstructed) + softplus(sampled)
    return {
        "discriminator_loss": loss,
        "real_score": real,
        "reconstruction_score": reconstructed,
        "sample_score": sampled,
    }


def check_features(name: str, network: nn.Module) -> None:
    """Refuse a network whose features can't be asked for.

    Raises:
        UserError: it is one.
    """
    if not isinstance(network, ReadsFeatures):
        raise UserError(
            f"{name} must have features(x) and from_features(features), which a {type(network).__name__} hasn't: take "
            "a DCGANDiscriminator or a FeatureNetwork"
        )


def check_posterior(q: DiagonalNormal, prior: nn.Module) -> None:
    """Refuse posteriors that aren't diagonal normals of as many coordinates as the prior, and priors far from normal.

    Raises:
        UserError: ``q`` is one, or KL(q || p) has no closed form.
    """
    dim = prior.dim
    if not isinstance(q, DiagonalNormal):
        raise UserError(f"the posterior must be a diagonal normal, as a NormalHead makes, not a {type(q).__name__}")
    if tuple(q.event_shape) != (dim,):
        raise UserError(
            f"the encoder and the posterior give codes of shape {tuple(q.event_shape)}, but the prior's have shape "
            f"{(dim,)}: make the encoder's latent size and the prior's dim equal"
        )
    try:
        kl_divergence(q, prior())
    except NotImplementedError:
        raise UserError(
            f"the KL divergence to a {type(prior).__name__} has no closed form, which this model needs: take the prior "
            "StandardNormal"
        ) from None


def check_made(x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a decoder that makes ``x`` (B, ...) where the data's examples have ``shape``.

    Raises:
        UserError: shapes differ, or pixels leave [0, 1].
    """
    if tuple(x.shape[1:]) != shape:
        raise UserError(f"the decoder makes examples of shape {tuple(x.shape[1:])}, but the data's are {shape}")
    if len(shape) == 3 and not (x.min() >= 0.0 and x.max() <= 1.0):
        raise UserError(
            f"the decoder's pixels must lie in [0, 1], got {float(x.min()):.3g} to {float(x.max()):.3g}: move its "
            f"output there at its own edge, as a sigmoid does"
        )
