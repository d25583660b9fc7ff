"""FactorVAE: a VAE whose codes are pushed towards independent coordinates by a discriminator."""

from collections.abc import Callable

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam

from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.frozen import frozen
from lit_gen.models.manual import ManualOptimizationModel
from lit_gen.models.vaes.vae import VAE
from lit_gen.objectives.variational import VariationalObjective
from lit_gen.protocols import Batch
from lit_gen.tensor import at_least_single


class FactorVAE(VAE, ManualOptimizationModel):
    """VAE that maximises its bound less gamma times the total correlation of its codes, KL(q(z) || prod_j q(z_j)).

    Kim & Mnih, Disentangling by Factorising (2018), Algorithm 2, https://arxiv.org/abs/1802.05983. A discriminator
    tells draws of z from draws whose coordinates have been exchanged among examples; its score, log D / (1 - D),
    estimates the logarithm of the two densities' ratio. Each batch is one step of the VAE and one of the discriminator.
    The paper takes a second batch for the exchanged draws; here the batch's second half gives them and the first half
    the others, while the VAE learns from all of it. Over several processes each exchanges coordinates among its own
    draws.

    Terms beside those of ``LatentVariableModel``: ``total_correlation``, the mean score, in nats;
    ``discriminator_loss``. ``loss`` is the VAE's. Validation and test report the bound without the penalty.

    Args:
        encoder: as in ``VAE``.
        decoder: as in ``VAE``.
        posterior: as in ``VAE``.
        likelihood: as in ``VAE``.
        prior: as in ``VAE``.
        discriminator: codes (B, Z) -> scores (B,), high for draws whose coordinates belong together.
        gamma: weight of the total correlation.
        beta: as in ``VAE``.
        optimizer: makes the optimizer of the VAE's parameters.
        discriminator_optimizer: makes the discriminator's.
        scheduler: as in ``VAE``, of the VAE alone; it cannot be ``ReduceLROnPlateau``.
        objective: as in ``VAE``.

    Raises:
        UserError: a negative ``gamma``; in ``setup``, parts that don't fit each other or the data; at the first step,
            a single example in a batch of this process.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        posterior: nn.Module,
        likelihood: nn.Module,
        prior: nn.Module,
        discriminator: nn.Module,
        gamma: float = 10.0,
        beta: float | Callable[[int], float] = 1.0,
        optimizer: OptimizerCallable = Adam,
        discriminator_optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
        objective: VariationalObjective | None = None,
    ) -> None:
        super().__init__(encoder, decoder, posterior, likelihood, prior, beta, optimizer, scheduler, objective)
        if not gamma >= 0:
            raise UserError(f"gamma must not be negative, got {gamma}")
        self.discriminator = discriminator
        self.gamma = gamma
        self.discriminator_optimizer = discriminator_optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        if batch_idx == 0:
            self.check_data(batch.x)
            if len(batch.x) < 2:
                raise UserError("FactorVAE exchanges coordinates among examples: it needs a batch_size of at least 2")
        return ManualOptimizationModel.training_step(self, batch, batch_idx)

    def play(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        beta = self.beta(batch_number) if callable(self.beta) else self.beta
        draws: list[Tensor] = []

        def vae_terms(x: Tensor) -> dict[str, Tensor]:
            inference = self.inference(x, batch.label)
            bound = self.objective(inference, beta)
            z = inference.posterior.rsample()
            draws[:] = [z.detach()]
            with frozen(self.discriminator):
                total_correlation = self._scores(z)
            return {
                "loss": self.gamma * total_correlation - bound.value,
                "reconstruction": bound.log_likelihood,
                "kl": bound.kl,
                "bound": bound.lower_bound,
                "total_correlation": total_correlation,
            }

        terms = self.step_player(self._vae(), 0, "loss", vae_terms, batch.x)
        half = len(batch.x) // 2
        joint, exchanged = draws[0][:half], exchange_coordinates(draws[0][-half:])
        return terms | self.step_player(
            self.discriminator, 1, "discriminator_loss", self._discriminator_terms, joint, exchanged
        )

    def _vae(self) -> nn.ModuleList:
        """The other player: all but the discriminator."""
        return nn.ModuleList([module for module in self.children() if module is not self.discriminator])

    def _scores(self, z: Tensor) -> Tensor:
        return at_least_single(self.discriminator(z))  # (B,)

    def _discriminator_terms(self, joint: Tensor, exchanged: Tensor) -> dict[str, Tensor]:
        return {"discriminator_loss": (softplus(-self._scores(joint)) + softplus(self._scores(exchanged))) / 2}

    def configure_optimizers(self):
        vae = self.optimizer(self._vae().parameters())
        discriminator = self.discriminator_optimizer(self.discriminator.parameters())
        return [vae, discriminator], [] if self.scheduler is None else [self.scheduler(vae)]

    def setup(self, stage: str) -> None:
        ManualOptimizationModel.setup(self, stage)
        super().setup(stage)
        if data_shape(self) is not None:
            with undisturbed(self, self.device):
                z = torch.zeros(2, self.prior.dim, device=self.device)
                scores = try_network("the discriminator", self.discriminator, z, "the prior's codes")
            if tuple(scores.shape) != (2,):
                raise UserError(
                    f"the discriminator must give one score a code, (B,), but gave {tuple(scores.shape)} for B = 2"
                )


def exchange_coordinates(z: Tensor) -> Tensor:
    """(B, Z) -> (B, Z): each coordinate's values in an order of their own among the examples.

    Algorithm 1 of Kim & Mnih. The coordinates keep their marginal distributions and lose what ties them together.
    """
    return z.gather(0, torch.rand_like(z, dtype=torch.float32).argsort(0))
