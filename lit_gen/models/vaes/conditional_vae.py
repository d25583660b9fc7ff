"""Conditional variational autoencoders: of a class, or of the part of an image that isn't given."""

from collections.abc import Callable
from functools import partial

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Adam

from lit_gen.distributions.conditional_prior import ConditionalPrior
from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.vaes.base import (
    LatentVariableModel,
    check_has_mean,
    log_px_at,
    log_qz_alone,
    start_decoder_at_mean,
)
from lit_gen.models.vaes.condition import ClassLabel, Condition
from lit_gen.models.vaes.vae import Prediction, check_codes_suit, typical_code
from lit_gen.objectives.variational import Inference, VariationalObjective
from lit_gen.protocols import Batch


class ConditionalVAE(LatentVariableModel):
    """Conditional variational autoencoder: p(y|c) = E_{z ~ p(z|c)} [p(y|z, c)].

    Sohn, Lee & Yan, Learning Structured Output Representation using Deep Conditional Generative Models (2015),
    https://papers.nips.cc/paper/5775. Their hybrid with a Gaussian stochastic network is left out.

    The ``condition`` divides each example into what is given, c, and the rest, y. All terms, those of
    ``LatentVariableModel``, and all likelihoods are of y given c: ``bound`` is one on log p(y|c).

    Args:
        condition: a ``ClassLabel`` or a ``GivenHalf``.
        encoder: the rest (B, *rest_shape) and conditions (B, *condition_shape) -> the posterior's parameters.
        decoder: codes (B, Z) and conditions -> the likelihood's parameters.
        posterior: head that makes q(z|y, c) of the encoder's output: batch (B,), event (Z,).
        likelihood: head that makes p(y|z, c) of the decoder's output: batch (B,), event rest_shape.
        prior: p(z), called without arguments, or a ``ConditionalPrior``, p(z|c); has ``dim``.
        beta: as in ``LatentVariableModel``.
        optimizer: as in ``LatentVariableModel``.
        scheduler: as in ``LatentVariableModel``.
        objective: as in ``LatentVariableModel``.

    Raises:
        UserError: in ``setup``, data without the labels it needs, or parts that don't fit each other or the data.
    """

    def __init__(
        self,
        condition: Condition,
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
        self.condition = condition
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.likelihood = likelihood
        self.prior = prior

    @property
    def conditions_on(self) -> str:
        """What is given in every likelihood of this model, in words."""
        return self.condition.description

    def latent_prior(self, given: Tensor) -> Distribution:
        """(B, *condition_shape) -> p(z|c): batch () or (B,), event (Z,)."""
        return self.prior(given) if isinstance(self.prior, ConditionalPrior) else self.prior()

    def likelihood_at(self, z: Tensor, given: Tensor) -> Distribution:
        """p(y|z, c) of N = K * B codes (N, Z), each K-th part of them with the conditions (B, *condition_shape)."""
        num_repeats = len(z) // len(given)
        if num_repeats > 1:
            given = given.repeat(num_repeats, *[1] * (given.dim() - 1))
        return self.likelihood(self.decoder(z, given))

    def check_data(self, x: Tensor) -> None:
        if hasattr(self.likelihood, "check"):
            self.likelihood.check(self.condition.rest(x))

    def inference(self, x: Tensor, label: Tensor | None = None) -> Inference:
        given, rest = self.condition.given(x, label), self.condition.rest(x)
        parameters = self.encoder(rest, given)
        return Inference(
            posterior=self.posterior(parameters),
            prior=self.latent_prior(given),
            log_px=lambda z: log_px_at(rest, z, partial(self.likelihood_at, given=given)),
            log_qz_alone=lambda z: log_qz_alone(z, self.posterior, parameters, self.posterior),
        )

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        given = self.condition.given(batch.x, batch.label)
        code = typical_code(self.posterior(self.encoder(self.condition.rest(batch.x), given)))
        return Prediction(code, self._picture(code, given))

    def visible(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, *event_shape): the examples with 0.5 in the place of what isn't given."""
        hidden = torch.full_like(self.condition.rest(x), 0.5)
        return self.condition.whole(hidden, self.condition.given(x, label))

    def complete(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B, *event_shape): what is given of the examples, with the mean of p(y|z, c) at draws of z."""
        given = self.condition.given(x, label)
        return torch.stack([self._draw(given) for _ in range(num_samples)])

    def _draw(self, given: Tensor) -> Tensor:
        """(B, *condition_shape) -> (B, *event_shape), one draw of z ~ p(z|c) each."""
        prior = self.latent_prior(given)
        return self._picture(prior.sample((len(given),) if prior.batch_shape == () else ()), given)

    def _picture(self, z: Tensor, given: Tensor) -> Tensor:
        """(B, Z), (B, *condition_shape) -> (B, *event_shape): the likelihood's mean; of images, confined to [0, 1]."""
        mean = self.likelihood_at(z, given).mean
        return self.condition.whole(mean.clamp(0.0, 1.0) if mean.dim() == 4 else mean, given)

    @torch.no_grad()
    def start_at_mean(self, mean: Tensor) -> None:
        """Set the decoder's output bias to what the likelihood reads as the rest of ``mean``, (*event_shape).

        Raises:
            UserError: the decoder has no ``output_bias`` or the likelihood no ``params_for_mean``.
        """
        start_decoder_at_mean(self.decoder, self.likelihood, self.condition.rest(mean.unsqueeze(0)).squeeze(0))

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        if hasattr(data, "num_classes"):
            self.condition.check_classes(data.num_classes)
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        x, label = torch.zeros(2, *shape, device=self.device), torch.zeros(2, dtype=torch.long, device=self.device)
        given, rest = self.condition.given(x, label), self.condition.rest(x)
        if tuple(self.condition.whole(rest, given).shape) != tuple(x.shape) or tuple(given.shape[1:]) != tuple(
            self.condition.shape
        ):
            raise UserError(f"the condition, {self.condition.description}, can't be had of examples of shape {shape}")
        encoder = partial(self.encoder, condition=given)
        q = self.posterior(try_network("the encoder", encoder, rest, "the examples (beside their condition)"))
        p_z = self.latent_prior(given)
        dim = self.prior.dim
        if not tuple(q.event_shape) == tuple(p_z.event_shape) == (dim,):
            raise UserError(
                f"the encoder and the posterior give codes of shape {tuple(q.event_shape)}, the prior {(dim,)} and "
                f"draws of shape {tuple(p_z.event_shape)}: make them equal"
            )
        if not isinstance(self.prior, ConditionalPrior):
            check_codes_suit(self.prior, q)
        z = torch.zeros(2, dim, device=self.device)
        decoder = partial(self.decoder, condition=given)
        p = self.likelihood(try_network("the decoder", decoder, z, "the prior's codes (beside their condition)"))
        if tuple(p.event_shape) != tuple(rest.shape[1:]):
            raise UserError(
                f"the decoder and the likelihood describe examples of shape {tuple(p.event_shape)}, but of the data "
                f"there is {tuple(rest.shape[1:])} to tell, given {self.condition.description}"
            )
        check_has_mean(p)


class ClassConditionalVAE(ConditionalVAE):
    """A ``ConditionalVAE`` of the class label, which can be drawn from: the labels uniformly, or as asked for.

    Args:
        num_classes: of the data.
        **kwargs: as in ``ConditionalVAE``.
    """

    def __init__(self, num_classes: int, **kwargs) -> None:
        super().__init__(condition=ClassLabel(num_classes), **kwargs)
        self.num_classes = num_classes

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): the mean of p(x|z, c) at draws of z ~ p(z|c), each class as likely."""
        return self.sample_classes(torch.randint(self.num_classes, (num_samples,), device=self.device))

    def sample_classes(self, label: Tensor) -> Tensor:
        """(B,) class indices -> (B, *event_shape), as ``sample``."""
        return self._draw(self.condition.one_hot(label).to(self.dtype))
