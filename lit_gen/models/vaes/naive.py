"""Maximum likelihood by draws from the prior, without an encoder."""

from typing import NamedTuple

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Adam

from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.vaes.base import LatentVariableModel, check_described, draws_from_prior, log_px_at
from lit_gen.objectives.variational import ImportanceWeighted, Inference


class PriorAsProposal(NamedTuple):
    """Draws of each example's code that don't look at the example.

    Attributes:
        prior: p(z): batch (), event (Z,).
        batch_size: B, number of examples.
    """

    prior: Distribution
    batch_size: int

    def rsample_with_log_prob(self, sample_shape: tuple[int] = (1,)) -> tuple[Tensor, Tensor]:
        """(K, B, Z) draws from the prior and their (K, B) log-densities in nats."""
        z = draws_from_prior(self.prior, sample_shape[0], self.batch_size)
        log_prob = self.prior.log_prob(z)
        # Draws that hand no gradient on to a learned prior are those of a proposal that stands still: it is the ratio
        # p(z) / q(z), 1 by value, by which such a prior learns.
        return z, log_prob if self.prior.has_rsample else log_prob.detach()


class NaiveMonteCarlo(LatentVariableModel):
    """A decoder trained on log((1/K) sum_k p(x|z_k)), z_k drawn from the prior.

    p(x) = E_{z ~ p(z)} [p(x|z)], so the mean is an unbiased estimate of p(x), and its logarithm on average a lower
    bound of log p(x): the importance-weighted bound (Burda, Grosse & Salakhutdinov 2016, Eq. 8,
    https://arxiv.org/abs/1509.00519) whose proposal is the prior itself. Most draws explain an example badly, so that
    the variance is high and grows with the size of the code: what an encoder is for. Doersch, Tutorial on Variational
    Autoencoders (2016), Section 2, https://arxiv.org/abs/1606.05908

    The ``kl`` that it reports is 0: the proposal costs nothing.

    Args:
        decoder: codes (B, Z) -> the likelihood's parameters.
        likelihood: head that makes p(x|z) of the decoder's output: batch (B,), event event_shape.
        prior: called, gives p(z); has ``dim``.
        num_samples: K.
        optimizer: as in ``LatentVariableModel``.
        scheduler: as in ``LatentVariableModel``.

    Raises:
        UserError: ``num_samples`` is less than 1; in ``setup``, parts that don't fit each other or the data.
    """

    def __init__(
        self,
        decoder: nn.Module,
        likelihood: nn.Module,
        prior: nn.Module,
        num_samples: int = 100,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(ImportanceWeighted(num_samples), 1.0, optimizer, scheduler)
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior

    def inference(self, x: Tensor, label: Tensor | None = None) -> Inference:
        prior = self.prior()
        return Inference(
            posterior=PriorAsProposal(prior, len(x)),
            prior=prior,
            log_px=lambda z: log_px_at(x, z, lambda code: self.likelihood(self.decoder(code))),
            log_qz_alone=prior.log_prob,
        )

    def check_data(self, x: Tensor) -> None:
        if hasattr(self.likelihood, "check"):
            self.likelihood.check(x)

    def setup(self, stage: str) -> None:
        shape = data_shape(self)
        if shape is None:
            return
        with undisturbed(self, self.device):
            z = self.prior().sample((2,))
            p = self.likelihood(try_network("the decoder", self.decoder, z, "the prior's codes"))
        check_described(p, shape)

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): the mean of p(x|z) at draws of z from the prior."""
        return self.from_latents(self.draw_latents(num_samples))

    def draw_latents(self, num: int) -> Tensor:
        """(num, Z) draws from the prior."""
        return self.prior().sample((num,))

    def from_latents(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), as ``decode``."""
        return self.decode(z)

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), the mean of p(x|z); of images, (C, H, W), confined to [0, 1]."""
        mean = self.likelihood(self.decoder(z)).mean
        return mean.clamp(0.0, 1.0) if mean.dim() == 4 else mean
