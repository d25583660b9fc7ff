"""What models trained by a variational bound share: the step, the terms, the importance weights, the optimizer."""

from collections.abc import Callable

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Adam

from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from lit_gen.models.dry_run import check_splits
from lit_gen.models.frozen import frozen
from lit_gen.models.one_optimizer import one_optimizer
from lit_gen.objectives.variational import ELBO, Bound, Inference, VariationalObjective, draw
from lit_gen.protocols import Batch, FollowsSteps

CPU_ROWS = 500
"""Codes that a CPU decodes at once where no gradient is wanted."""


class LatentVariableModel(GenerativeModel):
    """Base of models with a latent z, a decoder p(x|z) and an approximate posterior q(z|x).

    A subclass writes ``inference``. Terms, in nats, summed over the event and averaged over examples:
    ``reconstruction``, log p(x|z) at draws from q(z|x); ``kl``; ``bound``, on log p(x); ``loss``, what is minimised: in
    training minus the objective with its weights, in validation and test always -bound, so that checkpoints are never
    chosen by a weighted bound.

    Args:
        objective: the bound that is maximised; None for the ``ELBO`` with a KL in closed form.
        beta: weight of the KL in training, or a function of the global step, as ``LinearWarmup``.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule from the optimizer; it counts optimizer steps
            (``ReduceLROnPlateau`` watches val/loss).

    Raises:
        UserError: a negative beta.
    """

    def __init__(
        self,
        objective: VariationalObjective | None = None,
        beta: float | Callable[[int], float] = 1.0,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        if not callable(beta) and not beta >= 0:
            raise UserError(f"beta, the KL's weight, must not be negative, got {beta}")
        self.objective = ELBO() if objective is None else objective
        self.beta = beta
        self.optimizer = optimizer
        self.scheduler = scheduler

    def inference(self, x: Tensor, label: Tensor | None = None) -> Inference:
        """What the objective may ask about (B, *event_shape) examples; ``label``, (B,), where they have classes."""
        raise NotImplementedError

    def check_data(self, x: Tensor) -> None:
        """Refuse (B, *event_shape) examples that the likelihood is not of.

        Called on every split before the first step, on the first batch of each epoch and in every evaluation.

        Raises:
            UserError: there are some.
        """

    def bound(self, x: Tensor, beta: float = 1.0, label: Tensor | None = None) -> Bound:
        """The objective's bound on log p(x) of (B, *event_shape) examples."""
        return self.objective(self.inference(x, label), beta)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        check_splits(self)
        self._following = [part for part in self.modules() if isinstance(part, FollowsSteps)]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        for part in self._following:
            part.at_step(self.trainer.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        if batch_idx == 0:
            self.check_data(batch.x)
        beta = self.beta(self.trainer.global_step) if callable(self.beta) else self.beta
        bound = self.bound(batch.x, beta, batch.label)
        means = torch.stack([bound.log_likelihood, bound.kl, bound.lower_bound]).detach().mean(1)
        reconstruction, kl, lower_bound = means.unbind()
        return {"loss": -bound.value.mean(), "reconstruction": reconstruction, "kl": kl, "bound": lower_bound}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.check_data(batch.x)
        bound = self.bound(batch.x, label=batch.label)  # beta is 1 whatever the training's
        return {
            "loss": -bound.lower_bound,
            "reconstruction": bound.log_likelihood,
            "kl": bound.kl,
            "bound": bound.lower_bound,
        }

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def draws_in_words(self) -> str:
        num = getattr(self.objective, "num_samples", 1) * getattr(self.objective, "num_monte_carlo", 1)
        return f"{type(self.objective).__name__}, {num} {'draw' if num == 1 else 'draws'} of z"

    def log_importance_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B) values of log p(x|z) + log p(z) - log q(z|x) in nats, z drawn from q(z|x)."""
        inference = self.inference(x, label)
        z, log_qz = draw(inference.posterior, num_samples)
        # The KL's closed form has no place here: each weight is the ratio at its own draw.
        return inference.log_px(z) + inference.prior.log_prob(z) - log_qz

    def log_prior_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B) values of log p(x|z) in nats, z drawn from the prior."""
        inference = self.inference(x, label)
        return inference.log_px(draws_from_prior(inference.prior, num_samples, len(x)))

    def configure_optimizers(self):
        return one_optimizer(self.parameters(), self.optimizer, self.scheduler)


def check_described(p: Distribution, shape: tuple[int, ...]) -> None:
    """Refuse a p(x|z) of other examples than the data's, of ``shape``, or without a mean to show them by.

    Raises:
        UserError: it is one.
    """
    if tuple(p.event_shape) != shape:
        raise UserError(
            f"the decoder and the likelihood describe examples of shape {tuple(p.event_shape)}, but the data's have "
            f"shape {shape}"
        )
    check_has_mean(p)


def check_has_mean(p: Distribution) -> None:
    """Refuse a p(x|z) without a mean.

    Raises:
        UserError: it is one.
    """
    try:
        _ = p.mean
    except NotImplementedError:
        raise UserError(
            f"the likelihood's {type(p).__name__} has no mean, by which reconstructions and samples are shown: take a "
            f"head of another kind, for mixtures of levels DiscretizedLogisticMixtureHead"
        ) from None


def draws_from_prior(prior: Distribution, num_samples: int, batch_size: int) -> Tensor:
    """(num_samples, batch_size, Z) independent draws, differentiable where the prior's are.

    Args:
        prior: p(z), batch () or, where it depends on the example, (batch_size,); event (Z,).
    """
    shape = (num_samples,) if prior.batch_shape else (num_samples, batch_size)
    return prior.rsample(shape) if prior.has_rsample else prior.sample(shape)


def log_px_at(x: Tensor, z: Tensor, likelihood: Callable[[Tensor], Distribution]) -> Tensor:
    """log p(x|z) at one or several codes of each example.

    Args:
        x: (B, *event_shape).
        z: (B, Z) or (K, B, Z).
        likelihood: (N, Z) -> p(x|z): batch (N,), event event_shape.

    Returns:
        (B,) or (K, B) nats.
    """
    if z.dim() == 2:
        return likelihood(z).log_prob(x)
    if z.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        # Passes over pixels are several times faster within the processor's cache.
        parts = z.split(max(1, CPU_ROWS // len(x)))
        return torch.cat([_log_px_at_once(x, part, likelihood) for part in parts])
    return _log_px_at_once(x, z, likelihood)


def _log_px_at_once(x: Tensor, z: Tensor, likelihood: Callable[[Tensor], Distribution]) -> Tensor:
    """(B, *event_shape), (K, B, Z) -> (K, B), decoding all codes at once."""
    num_samples = len(z)
    repeated = x.expand(num_samples, *x.shape).flatten(0, 1)
    return likelihood(z.flatten(0, 1)).log_prob(repeated).view(num_samples, len(x))


def log_qz_alone(
    z: Tensor, posterior: Callable[[Tensor], Distribution], parameters: Tensor, held: nn.Module | None = None
) -> Tensor:
    """log q(z|x) as a function of z alone.

    Args:
        z: (K, B, Z).
        posterior: makes q(z|x) of ``parameters``.
        parameters: (B, ...), the encoder's output.
        held: holds every parameter that ``posterior`` uses; None where that is ``posterior`` itself, a head.

    Returns:
        (K, B) nats, whose gradient reaches neither those parameters nor the encoder but through z.
    """
    with frozen(posterior if held is None else held):
        return posterior(parameters.detach()).log_prob(z)


@torch.no_grad()
def start_decoder_at_mean(decoder: nn.Module, likelihood: nn.Module, mean: Tensor) -> None:
    """Set the decoder's output bias to what the likelihood reads as ``mean``, (*event_shape).

    Raises:
        UserError: the decoder has no ``output_bias`` or the likelihood no ``params_for_mean``.
    """
    if not (hasattr(decoder, "output_bias") and hasattr(likelihood, "params_for_mean")):
        raise UserError(
            f"a {type(decoder).__name__} before a {type(likelihood).__name__} cannot start at the data's mean: "
            "StartAtMean needs a decoder with an output_bias and a likelihood with params_for_mean"
        )
    bias = decoder.output_bias
    if bias.shape != mean.shape:  # one for all places of a channel
        mean = mean.mean((1, 2), keepdim=True)
    bias.copy_(likelihood.params_for_mean(mean))
