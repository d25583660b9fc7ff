"""The negative log-likelihood estimated from the prior alone, to be seen beside the encoder's."""

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.errors import UserError
from lit_gen.protocols import ImportanceWeights, PriorWeights


class NaiveLikelihood(Likelihood):
    """Mean of -log((1/K) sum_k p(x|z_k)) in nats, z_k drawn from the prior: naive Monte-Carlo, without an encoder.

    The mean is an unbiased estimate of p(x), as the encoder's is, but of far higher variance: few of the prior's draws
    explain an example. Beside a ``Likelihood`` of the same K, ``<figure>_mc_se`` and ``<figure>_ess`` show by how much.
    The figure is named ``nll_nats_naive_k<K>``; all else is as in ``Likelihood``.

    Raises:
        UserError: on counts below 1; at setup, if the model has no prior with a decoder.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, PriorWeights):
            raise UserError(
                f"NaiveLikelihood can't score a {type(pl_module).__name__}: it has no log_prior_weights(x, "
                "num_samples); take the callback out of the config."
            )

    def _without_draws(self, pl_module: LightningModule) -> None:
        return None

    def _proposing(self, pl_module: LightningModule) -> ImportanceWeights:
        return PriorProposing(pl_module)

    def _figure(self, num_samples: int) -> str:
        return f"nll_nats_naive_k{num_samples}"

    def _method(self, num_samples: int) -> str:
        return f"naive Monte-Carlo, K={num_samples} draws from the prior, noise seed {self.seed}"


class PriorProposing:
    """A model's importance weights with the prior as the proposal, p(x, z) / p(z) = p(x|z)."""

    def __init__(self, model: PriorWeights) -> None:
        self.model = model

    def log_importance_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B) values of log p(x|z) in nats."""
        return self.model.log_prior_weights(x, num_samples, label)
