"""Variational autoencoders."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Adam

from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.vaes.base import (
    LatentVariableModel,
    check_described,
    log_px_at,
    log_qz_alone,
    start_decoder_at_mean,
)
from lit_gen.objectives.variational import Inference, VariationalObjective
from lit_gen.protocols import Batch


class Prediction(NamedTuple):
    """What ``predict`` gives for a batch.

    Attributes:
        code: (B, Z), as ``encode`` gives it.
        reconstruction: (B, *event_shape), the likelihood's mean at that code.
    """

    code: Tensor
    reconstruction: Tensor


def typical_code(posterior: Distribution) -> Tensor:
    """(B, Z), the mean of q(z|x), or its ``center`` where the mean isn't known."""
    return posterior.center if hasattr(posterior, "center") else posterior.mean


def check_codes_suit(prior: nn.Module, posterior: Distribution) -> None:
    """Refuse codes that the prior isn't of: a probability over a density would be no importance weight.

    Raises:
        UserError: one of the two is discrete and the other is not, or the prior's own ``check_posterior`` says so.
    """
    if hasattr(prior, "check_posterior"):
        prior.check_posterior(posterior)
    elif getattr(posterior, "is_discrete", False):
        raise UserError(
            f"the posterior's codes are discrete, but a {type(prior).__name__} is a density: take the prior "
            "UniformCategorical"
        )


class VAE(LatentVariableModel):
    """Variational autoencoder.

    Kingma & Welling, Auto-Encoding Variational Bayes (2014), Eq. 3, https://arxiv.org/abs/1312.6114; with the
    objective ``ImportanceWeighted`` an importance weighted autoencoder, Burda, Grosse & Salakhutdinov (2016),
    https://arxiv.org/abs/1509.00519. The terms it reports are those of ``LatentVariableModel``.

    Args:
        encoder: examples (B, *event_shape) -> the posterior's parameters.
        decoder: codes (B, Z) -> the likelihood's parameters.
        posterior: head that makes q(z|x) of the encoder's output: batch (B,), event (Z,).
        likelihood: head that makes p(x|z) of the decoder's output: batch (B,), event event_shape.
        prior: called, gives p(z); has ``dim``. One that not every posterior's codes suit has ``check_posterior(q)``.
        beta: as in ``LatentVariableModel``.
        optimizer: as in ``LatentVariableModel``.
        scheduler: as in ``LatentVariableModel``.
        objective: as in ``LatentVariableModel``.

    Raises:
        UserError: in ``setup``, parts that don't fit each other or the data.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        posterior: nn.Module,
        likelihood: nn.Module,
        prior: nn.Module,
        beta: float | Callable[[int], float] = 1.0,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
        objective: VariationalObjective | None = None,
    ) -> None:
        super().__init__(objective, beta, optimizer, scheduler)
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.likelihood = likelihood
        self.prior = prior

    def latent_prior(self) -> Distribution:
        """p(z): batch (), event (Z,)."""
        return self.prior()

    def posterior_at(self, parameters: Tensor) -> Distribution:
        """The encoder's output -> q(z|x): batch (B,), event (Z,)."""
        return self.posterior(parameters)

    def likelihood_at(self, z: Tensor) -> Distribution:
        """(N, Z) -> p(x|z): batch (N,), event event_shape."""
        return self.likelihood(self.decoder(z))

    def check_data(self, x: Tensor) -> None:
        if hasattr(self.likelihood, "check"):
            self.likelihood.check(x)

    def inference(self, x: Tensor, label: Tensor | None = None) -> Inference:
        parameters = self.encoder(x)
        return Inference(
            posterior=self.posterior_at(parameters),
            prior=self.latent_prior(),
            log_px=lambda z: log_px_at(x, z, self.likelihood_at),
            log_qz_alone=lambda z: log_qz_alone(z, self.posterior_at, parameters, self),
        )

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        code = self.encode(batch.x)
        return Prediction(code, self.decode(code))

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): the mean of p(x|z) at draws of z from the prior."""
        return self.from_latents(self.draw_latents(num_samples))

    def draw_latents(self, num: int) -> Tensor:
        """(num, Z) draws from the prior."""
        return self.latent_prior().sample((num,))

    def from_latents(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), as ``decode``."""
        return self.decode(z)

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, Z), the mean of q(z|x), or its ``center`` where the mean isn't known."""
        return typical_code(self.posterior_at(self.encoder(x)))

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), the mean of p(x|z); of images, (C, H, W), confined to [0, 1]."""
        mean = self.likelihood_at(z).mean
        return mean.clamp(0.0, 1.0) if mean.dim() == 4 else mean

    @torch.no_grad()
    def start_at_mean(self, mean: Tensor) -> None:
        """Set the decoder's output bias to what the likelihood reads as ``mean``, (*event_shape).

        Raises:
            UserError: the decoder has no ``output_bias`` or the likelihood no ``params_for_mean``.
        """
        start_decoder_at_mean(self.decoder, self.likelihood, mean)

    def prior_quantile(self, probability: Tensor) -> Tensor:
        """Coordinates of z at cumulative probabilities in (0, 1), elementwise.

        Raises:
            UserError: the prior has no quantile function.
        """
        if not hasattr(self.prior, "quantile"):
            raise UserError(
                f"a {type(self.prior).__name__} has no quantiles to lay a grid of codes along: take the prior "
                "StandardNormal, or the callback that needs them, as LatentManifold, out of the config"
            )
        return self.prior.quantile(probability)

    def setup(self, stage: str) -> None:
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        dim = self.prior.dim
        x = torch.zeros(2, *shape, device=self.device)
        q = self.posterior_at(try_network("the encoder", self.encoder, x, "the data's examples"))
        if tuple(q.event_shape) != (dim,):
            raise UserError(
                f"the encoder and the posterior give codes of shape {tuple(q.event_shape)}, but the prior's have "
                f"shape {(dim,)}: make the encoder's latent size and the prior's dim equal"
            )
        check_codes_suit(self.prior, q)
        params = try_network("the decoder", self.decoder, torch.zeros(2, dim, device=self.device), "the prior's codes")
        p = self.likelihood(params)
        check_described(p, shape)
