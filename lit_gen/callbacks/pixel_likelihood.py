"""The likelihood of models that make images without saying how pixels scatter about them."""

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.errors import UserError
from lit_gen.protocols import ImportanceWeights, WeightsUnder


class PixelLikelihood(Likelihood):
    """A ``Likelihood`` under a density of pixels about the decoder's images that the model was not trained by.

    A VAE-GAN has a prior, a posterior and a decoder, but its similarity of features is no density of pixels. With
    p(x|z) lent by ``likelihood`` it can be scored beside a VAE of the same density. The figure is named
    ``nll_nats_pixel_k<K>``; its protocol line names the density; all else is as in ``Likelihood``.

    Args:
        likelihood: head of a fixed scale that takes the decoder's images for its locations, ``NormalHead(scale=0.1)``.
        num_samples: as in ``Likelihood``.
        chunk_size: as in ``Likelihood``.
        val_num_samples: as in ``Likelihood``.
        seed: as in ``Likelihood``.

    Raises:
        UserError: on counts below 1; a likelihood without a fixed scale; at setup, if the model
            has no posterior and decoder to lend it to.
    """

    def __init__(
        self,
        likelihood: nn.Module,
        num_samples: int = 500,
        chunk_size: int = 2500,
        val_num_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(num_samples, chunk_size, val_num_samples, seed)
        if not isinstance(getattr(likelihood, "scale", None), float | int):
            raise UserError(
                f"PixelLikelihood scatters pixels about an image, which this {type(likelihood).__name__} doesn't: take "
                "NormalHead or LaplaceHead with a fixed scale"
            )
        self.likelihood = likelihood

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, WeightsUnder):
            raise UserError(
                f"PixelLikelihood can't score a {type(pl_module).__name__}: it has no log_weights_under(likelihood, x, "
                "num_samples); take the callback out of the config."
            )

    def _without_draws(self, pl_module: LightningModule) -> None:
        return None

    def _proposing(self, pl_module: LightningModule) -> ImportanceWeights:
        return Lent(pl_module, self.likelihood)

    def _figure(self, num_samples: int) -> str:
        return f"nll_nats_pixel_k{num_samples}"

    def _method(self, num_samples: int) -> str:
        density = f"{type(self.likelihood).__name__} of scale {self.likelihood.scale:g}"
        return f"{super()._method(num_samples)}; p(x|z) lent by {density}"


class Lent:
    """A model with a density of pixels that is not its own."""

    def __init__(self, model: WeightsUnder, likelihood: nn.Module) -> None:
        self.model = model
        self.likelihood = likelihood

    def log_importance_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B) values of log p(x|z) + log p(z) - log q(z|x) in nats."""
        return self.model.log_weights_under(self.likelihood, x, num_samples, label)
