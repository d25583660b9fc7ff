"""Variational autoencoders."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.objectives.variational import Bound, elbo
from lit_gen.protocols import Batch


class Prediction(NamedTuple):
    """What ``predict`` gives for a batch.

    Attributes:
        code: (B, Z), the posterior's mean.
        reconstruction: (B, *event_shape), the likelihood's mean at that code.
    """

    code: Tensor
    reconstruction: Tensor


class VAE(GenerativeModel):
    """Variational autoencoder.

    Kingma & Welling, Auto-Encoding Variational Bayes (2014), Eq. 3, https://arxiv.org/abs/1312.6114

    Terms, in nats, summed over the event and averaged over examples: ``reconstruction``, log p(x|z) at one z drawn
    from q(z|x); ``kl``, in closed form; ``bound``, reconstruction - kl; ``loss``, what is minimised: in training
    beta * kl - reconstruction, in validation and test always -bound, so that checkpoints are never chosen by a
    weighted bound.

    Args:
        encoder: examples (B, *event_shape) -> the posterior's parameters.
        decoder: codes (B, Z) -> the likelihood's parameters.
        posterior: head that makes q(z|x) of the encoder's output: batch (B,), event (Z,).
        likelihood: head that makes p(x|z) of the decoder's output: batch (B,), event event_shape.
        prior: called, gives p(z), of the same family as q; has ``dim``.
        beta: weight of the KL in training, or a function of the global step, as ``LinearWarmup``.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule from the optimizer; it counts optimizer steps
            (``ReduceLROnPlateau`` watches val/loss).

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
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.likelihood = likelihood
        self.prior = prior
        self.beta = beta
        self.optimizer = optimizer
        self.scheduler = scheduler

    def bound(self, x: Tensor, beta: float = 1.0) -> Bound:
        """The evidence lower bound of (B, *event_shape) examples at one draw of z for each."""
        q: Distribution = self.posterior(self.encoder(x))  # q(z|x): batch (B,), event (Z,)
        z = q.rsample()
        p: Distribution = self.likelihood(self.decoder(z))  # p(x|z)
        return elbo(log_px_z=p.log_prob(x), kl=kl_divergence(q, self.prior()), beta=beta)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        beta = self.beta(self.trainer.global_step) if callable(self.beta) else self.beta
        bound = self.bound(batch.x, beta)
        reconstruction, kl = bound.log_likelihood.detach().mean(), bound.kl.detach().mean()
        return {
            "loss": -bound.value.mean(),
            "reconstruction": reconstruction,
            "kl": kl,
            "bound": reconstruction - kl,
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        bound = self.bound(batch.x)  # beta is 1 whatever the training's
        return {"loss": -bound.value, "reconstruction": bound.log_likelihood, "kl": bound.kl, "bound": bound.value}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        code = self.encode(batch.x)
        return Prediction(code, self.decode(code))

    def log_importance_weights(self, x: Tensor, num_samples: int) -> Tensor:
        """(num_samples, B) values of log p(x|z) + log p(z) - log q(z|x) in nats, z drawn from q(z|x)."""
        q = self.posterior(self.encoder(x))
        z = q.rsample((num_samples,))  # (K, B, Z)
        p = self.likelihood(self.decoder(z.flatten(0, 1)))  # batch (K * B,)
        repeated = x.expand(num_samples, *x.shape).flatten(0, 1)
        log_px_z = p.log_prob(repeated).view(num_samples, len(x))
        # The KL's closed form has no place here: each weight is the ratio at its own draw.
        return log_px_z + self.prior().log_prob(z) - q.log_prob(z)

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): the mean of p(x|z) at draws of z from the prior."""
        return self.decode(self.prior().sample((num_samples,)))

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, Z), the mean of q(z|x)."""
        return self.posterior(self.encoder(x)).mean

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), the mean of p(x|z); of images, (C, H, W), confined to [0, 1]."""
        mean = self.likelihood(self.decoder(z)).mean
        return mean.clamp(0.0, 1.0) if mean.dim() == 4 else mean

    def prior_quantile(self, probability: Tensor) -> Tensor:
        """Coordinates of z at cumulative probabilities in (0, 1), elementwise."""
        return self.prior.quantile(probability)

    def configure_optimizers(self):
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        schedule = {"scheduler": self.scheduler(optimizer), "interval": "step"}
        if isinstance(schedule["scheduler"], ReduceLROnPlateau):
            schedule |= {"interval": "epoch", "monitor": "val/loss"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def setup(self, stage: str) -> None:
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        dim = self.prior.dim
        x = torch.zeros(2, *shape, device=self.device)
        q = self.posterior(try_network("the encoder", self.encoder, x, "the data's examples"))
        if tuple(q.event_shape) != (dim,):
            raise UserError(
                f"the encoder and the posterior give codes of shape {tuple(q.event_shape)}, but the prior's have "
                f"shape {(dim,)}: make the encoder's latent size and the prior's dim equal"
            )
        params = try_network("the decoder", self.decoder, torch.zeros(2, dim, device=self.device), "the prior's codes")
        p = self.likelihood(params)
        if tuple(p.event_shape) != shape:
            raise UserError(
                f"the decoder and the likelihood describe examples of shape {tuple(p.event_shape)}, but the data's "
                f"have shape {shape}"
            )
