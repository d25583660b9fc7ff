"""The vector-quantized variational autoencoder."""

from math import log, prod
from typing import NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam

from lit_gen.distributed import sum_over_ranks
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from lit_gen.models.dry_run import check_splits, data_shape, try_network, undisturbed
from lit_gen.models.one_optimizer import one_optimizer
from lit_gen.models.vaes.base import check_described, start_decoder_at_mean
from lit_gen.models.vaes.vae import Prediction
from lit_gen.networks.layers.quantize import Quantized, perplexity
from lit_gen.protocols import Batch
from lit_gen.ranges import check_at_least


class _Pass(NamedTuple):
    """One pass over a batch: the codes, and log p(x|codes), (B,) nats."""

    quantized: Quantized
    log_px: Tensor


class VQVAE(GenerativeModel):
    """Vector-quantized variational autoencoder: the code of an example is a field of numbers out of a codebook.

    van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning (2017), Eq. 3 with the codebook of
    Appendix A.1, https://arxiv.org/abs/1711.00937. Gradients pass the quantization straight through.

    The posterior is certain of one field c(x) of N codes, and the prior is uniform over the K^N fields, as while the
    paper trains its networks; the autoregressive prior that it then fits to the codes is left out, and with it
    samples worth showing. ``bound`` is log p(x|c(x)) - N log K, a lower bound on log p(x) = log sum_c p(c) p(x|c);
    importance weights are all equal to it, whatever their number, so that ``Likelihood`` gives it as
    ``nll_nats_bound``, not as an estimate.

    Terms, in nats where no other unit is told: ``reconstruction``, log p(x|c(x)); ``bound``; ``commitment``, the
    squared distance of the encodings to their codes, summed over positions; ``perplexity``, how many codes of equal
    use would be as various as those in use, of the batch in training and of the whole split in evaluation; ``loss``,
    in training commitment_weight * commitment - bound, in validation and test -bound.

    Args:
        encoder: examples (B, *event_shape) -> encodings (B, D, *positions).
        decoder: codes (B, D, *positions) -> the likelihood's parameters.
        quantizer: a ``VectorQuantizer`` of dimension D.
        likelihood: head that makes p(x|c) of the decoder's output: batch (B,), event event_shape.
        positions: shape of the field of codes: [N] or [height, width].
        commitment_weight: beta of Eq. 3.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule from the optimizer; it counts optimizer steps
            (``ReduceLROnPlateau`` watches val/loss).

    Raises:
        UserError: a negative weight; in ``setup``, parts that don't fit each other or the data, or more codes than
            the training split has encodings.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        quantizer: nn.Module,
        likelihood: nn.Module,
        positions: tuple[int, ...],
        commitment_weight: float = 0.25,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        if not commitment_weight >= 0:
            raise UserError(f"VQVAE's commitment_weight must not be negative, got {commitment_weight}")
        self.encoder = encoder
        self.decoder = decoder
        self.quantizer = quantizer
        self.likelihood = likelihood
        check_at_least(self, 1, positions=positions)
        self.positions = tuple(positions)
        self.commitment_weight = commitment_weight
        self.optimizer = optimizer
        self.scheduler = scheduler

    @property
    def log_prior(self) -> float:
        """log p(c) = -N log K, the same for every field of codes."""
        return -prod(self.positions) * log(self.quantizer.num_codes)

    def _pass(self, x: Tensor) -> _Pass:
        quantized = self.quantizer(self.encoder(x))
        return _Pass(quantized, self.likelihood(self.decoder(quantized.codes)).log_prob(x))

    def _counts(self, index: Tensor) -> Tensor:
        return torch.bincount(index.flatten(), minlength=self.quantizer.num_codes)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        if batch_idx == 0:
            self.check_data(batch.x)
        quantized, log_px = self._pass(batch.x)
        bound, commitment = log_px.mean() + self.log_prior, quantized.squared_error.mean()
        return {
            "loss": self.commitment_weight * commitment - bound,
            "reconstruction": log_px.detach().mean(),
            "bound": bound.detach(),
            "commitment": commitment.detach(),
            "perplexity": perplexity(self._counts(quantized.index)),
        }

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.check_data(batch.x)
        quantized, log_px = self._pass(batch.x)
        if self._split_counts is not None:
            self._split_counts += self._counts(quantized.index)
        bound = log_px + self.log_prior
        return {"loss": -bound, "reconstruction": log_px, "bound": bound, "commitment": quantized.squared_error}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    _split_counts: Tensor | None = None

    def _forget_evaluation(self) -> None:
        super()._forget_evaluation()
        self._split_counts = torch.zeros(self.quantizer.num_codes, dtype=torch.long, device=self.device)

    def _log_evaluation(self, split: str) -> dict[str, float]:
        value = perplexity(sum_over_ranks(self._split_counts))
        self.log(f"{split}/perplexity", value, sync_dist=True, batch_size=1)
        return super()._log_evaluation(split) | {"perplexity": value.item()}

    def on_fit_start(self) -> None:
        super().on_fit_start()
        check_splits(self)

    def check_data(self, x: Tensor) -> None:
        """Refuse (B, *event_shape) examples that the likelihood is not of.

        Raises:
            UserError: there are some.
        """
        if hasattr(self.likelihood, "check"):
            self.likelihood.check(x)

    def log_prob_bound(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B,), log p(x|c(x)) - N log K in nats."""
        return self._pass(x).log_px + self.log_prior

    def log_importance_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B): ``log_prob_bound`` as often as asked for, for the posterior is certain."""
        return self.log_prob_bound(x).expand(num_samples, -1)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        code = self.encode(batch.x)
        return Prediction(code, self.decode(code))

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): the mean of p(x|c) at fields of codes from the uniform prior."""
        index = torch.randint(self.quantizer.num_codes, (num_samples, *self.positions), device=self.device)
        return self.decode(self.quantizer.look_up(index).flatten(1))

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, D * N), the codes that the example is told by, one after the other."""
        return self.quantizer(self.encoder(x)).codes.flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """(B, D * N) -> (B, *event_shape), the mean of p(x|c); of images, (C, H, W), confined to [0, 1]."""
        mean = self.likelihood(self.decoder(z.view(len(z), self.quantizer.dim, *self.positions))).mean
        return mean.clamp(0.0, 1.0) if mean.dim() == 4 else mean

    @torch.no_grad()
    def start_at_mean(self, mean: Tensor) -> None:
        """Set the decoder's output bias to what the likelihood reads as ``mean``, (*event_shape).

        Raises:
            UserError: the decoder has no ``output_bias`` or the likelihood no ``params_for_mean``.
        """
        start_decoder_at_mean(self.decoder, self.likelihood, mean)

    def configure_optimizers(self):
        return one_optimizer(self.parameters(), self.optimizer, self.scheduler)

    def setup(self, stage: str) -> None:
        shape = data_shape(self)
        if shape is None:
            return
        with undisturbed(self, self.device):
            self._try_parts(shape)
        data, num_codes = self.trainer.datamodule, self.quantizer.num_codes
        if stage == "fit" and hasattr(data, "num_examples"):
            num_encodings = data.num_examples("train") * prod(self.positions)
            if num_codes > num_encodings:
                raise UserError(
                    f"a codebook of {num_codes} codes is larger than the data: {data.num_examples('train')} training "
                    f"examples of {prod(self.positions)} positions give {num_encodings} encodings; set num_codes"
                )

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        x = torch.zeros(2, *shape, device=self.device)
        z = try_network("the encoder", self.encoder, x, "the data's examples")
        wanted = (self.quantizer.dim, *self.positions)
        if tuple(z.shape[1:]) != wanted:
            raise UserError(
                f"the encoder gives encodings of shape {tuple(z.shape[1:])}, but the quantizer's dim and the positions "
                f"ask for {wanted}"
            )
        p = self.likelihood(try_network("the decoder", self.decoder, z, "the codes"))
        check_described(p, shape)
