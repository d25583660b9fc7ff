"""Principal component analysis: the best linear autoencoder, found in one pass, and a density."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lit_gen.distributed import rank
from lit_gen.errors import UserError
from lit_gen.metrics.principal_components import (
    PrincipalComponents,
    StreamingMoments,
    agreed,
    check_num_components,
    principal_components,
)
from lit_gen.models.autoencoders.autoencoder import Prediction
from lit_gen.models.dry_run import data_shape
from lit_gen.models.one_pass import OnePassModel
from lit_gen.protocols import Batch

MOMENTS_KEY = "pca_moments"
"""Where a checkpoint within the pass keeps the sums."""


class PCA(OnePassModel):
    """Principal component analysis, as autoencoder, generator and density.

    The linear code of least squared error: Bourlard & Kamp, Auto-association by multilayer perceptrons and singular
    value decomposition (1988), https://doi.org/10.1007/BF00332918. The density is that of probabilistic PCA,
    x ~ N(mean, W W' + sigma^2 I) with sigma^2 the mean of the dropped eigenvalues: Tipping & Bishop, Probabilistic
    Principal Component Analysis (1999), Eq. 7 and 8, https://doi.org/10.1111/1467-9868.00196

    Trains in one epoch without an optimizer. Equal to scikit-learn's PCA: components, their signs, eigenvalues (divided
    by N - 1), mean and, where there are more examples than dimensions, ``score_samples``. A CPU multiplies float32
    data as float32, which leaves a component off by some 1e-7 of the largest eigenvalue over the distance to the next
    one; ``trainer.precision: 64-true`` makes all float64.

    Terms, per example, summed over the event: ``squared_error``, |x - reconstruction|^2 before pictures are confined to
    [0, 1]: on the training examples its sum is N - 1 times that of the dropped eigenvalues; ``variance``, |x - mean|^2
    (in training about the batch's own mean). Also ``explained_variance_ratio``, 1 - the ratio of the two's sums over
    the split.

    Args:
        in_shape: shape of one example.
        num_components: size of the code.
        whiten: codes are divided by their standard deviation over the training examples.
        min_variance: the density's least variance in any direction. Without it examples that leave none in some
            direction, but for rounding, have no density.

    Raises:
        UserError: more components than dimensions; a negative ``min_variance``; in ``setup``, data of another shape or
            too few of them; whatever ``OnePassModel`` refuses; on use, a model that hasn't been found yet.
    """

    progress_bar_terms = ("squared_error",)

    def __init__(
        self,
        in_shape: int | Sequence[int],
        num_components: int,
        whiten: bool = False,
        min_variance: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= min_variance < math.inf:
            raise UserError(f"PCA's min_variance must be a number from 0 on, got {min_variance}")
        self.in_shape = (in_shape,) if isinstance(in_shape, int) else tuple(in_shape)
        self.num_components = num_components
        self.whiten = whiten
        self.min_variance = min_variance
        size = math.prod(self.in_shape)
        check_num_components(num_components, size)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.zeros(num_components, size))
        self.register_buffer("eigenvalues", torch.zeros(size))
        self.register_buffer("num_examples", torch.zeros((), dtype=torch.int64))  # 0: not found yet
        self._moments: StreamingMoments | None = None

    @property
    def found(self) -> PrincipalComponents:
        """What the pass has found.

        Raises:
            UserError: it hasn't ended yet.
        """
        if not self.num_examples:
            raise UserError(
                "PCA has found nothing yet: its checkpoint is of before the end of the pass (lit-gen fit --resume RUN "
                "goes on), or a callback asks at the start (SampleGrid needs at_start: false)"
            )
        return PrincipalComponents(self.mean, self.components, self.eigenvalues)

    def gather(self, batch: Batch) -> dict[str, Tensor]:
        if self._moments is None:
            self._moments = self._no_moments()
        return {"variance": self._moments.update(batch.x)}

    def conclude(self) -> None:
        moments = self._moments.over_ranks().compute()
        found = principal_components(moments, self.num_components, self._moments.rounding)
        for name, value in agreed(found)._asdict().items():
            getattr(self, name).copy_(value)
        self.num_examples.fill_(moments.count)

    def forget(self) -> None:
        self._moments = None

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        x = batch.x.flatten(1)
        found = self.found
        squared_error = (x - found.decode(found.encode(x))).square().sum(1)
        variance = (x - self.mean).square().sum(1)
        return {"squared_error": squared_error, "variance": variance}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        code = self.encode(batch.x)
        return Prediction(code, self.decode(code))

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, num_components), coordinates along the components."""
        code = self.found.encode(x)
        return code / self._code_scale if self.whiten else code

    def decode(self, z: Tensor) -> Tensor:
        """(B, num_components) -> (B, *event_shape); images, (C, H, W), are confined to [0, 1]."""
        x = self.found.decode(z * self._code_scale if self.whiten else z).unflatten(1, self.in_shape)
        return x.clamp(0.0, 1.0) if len(self.in_shape) == 3 else x

    @property
    def _code_scale(self) -> Tensor:
        """(num_components,): standard deviations; of directions without variance, whose codes are all 0, 1."""
        scale = self.eigenvalues[: self.num_components].sqrt()
        return torch.where(scale > 0, scale, 1.0)

    @property
    def noise_variance(self) -> Tensor:
        """sigma^2, the mean of the dropped eigenvalues (Tipping & Bishop 1999, Eq. 8); 0 if none is dropped."""
        dropped = self.eigenvalues[self.num_components :]
        return dropped.sum() / max(1, len(dropped))

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B,), log N(x; mean, W W' + sigma^2 I) in nats.

        Raises:
            UserError: no variance but that of rounding is left in some direction, so that there is no density.
        """
        found, num_dropped = self.found, len(self.mean) - self.num_components
        kept = self.eigenvalues[: self.num_components].clamp_min(self.min_variance)
        noise = self.noise_variance.clamp_min(self.min_variance)
        if not kept[-1] > 0 or (num_dropped and not noise > 0):
            raise UserError(
                "PCA has no density: but for rounding, the training examples have no variance outside of "
                f"{int((self.eigenvalues > 0).sum())} directions; ask for fewer num_components, set a "
                "min_variance, or look closer with trainer.precision: 64-true"
            )
        z = found.encode(x)
        distance = (z.square() / kept).sum(1)  # the covariance's inverse is diagonal in the eigenvectors' frame
        log_volume = kept.log().sum()
        if num_dropped:
            distance = distance + (x.flatten(1) - found.decode(z)).square().sum(1) / noise
            log_volume = log_volume + num_dropped * noise.log()
        return -0.5 * (len(self.mean) * math.log(2 * math.pi) + log_volume + distance)

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): the mean of p(x|latent) at draws of probabilistic PCA's latent, without the
        noise of variance sigma^2 that the model adds to it; images are confined to [0, 1]."""
        scale = (self.eigenvalues[: self.num_components] - self.noise_variance).clamp_min(0).sqrt()
        z = torch.randn(num_samples, self.num_components, device=self.device, dtype=scale.dtype) * scale
        return self.decode(z / self._code_scale if self.whiten else z)

    def prior_quantile(self, probability: Tensor) -> Tensor:
        """Quantiles of the codes' normal distribution at (..., num_components) probabilities in (0, 1)."""
        quantile = torch.special.ndtri(probability)
        return quantile if self.whiten else quantile * self._code_scale

    def filters(self) -> Tensor:
        """(num_components, *event_shape): the components, unit vectors in data space ("eigen-images")."""
        return self.found.components.unflatten(1, self.in_shape)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        shape, data = data_shape(self), self.trainer.datamodule
        if shape not in (None, self.in_shape):
            raise UserError(f"PCA takes inputs of shape {self.in_shape}, but the data's examples have shape {shape}")
        if stage == "fit" and hasattr(data, "num_examples"):
            check_num_components(self.num_components, len(self.mean), data.num_examples("train"))

    def _no_moments(self) -> StreamingMoments:
        return StreamingMoments(len(self.mean), self.device if self.device.type != "mps" else "cpu")

    def on_validation_epoch_end(self) -> None:
        self._log_ratio("val", self._log_evaluation("val"))

    def on_test_epoch_end(self) -> None:
        self._log_ratio("test", self._log_evaluation("test"))

    def _log_ratio(self, split: str, means: dict[str, float]) -> None:
        ratio = 1 - means["squared_error"] / means["variance"] if means["variance"] > 0 else math.nan
        self.log(f"{split}/explained_variance_ratio", ratio, sync_dist=True, batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        if self._moments is None:
            return
        # The ranks' shares are joined in rank zero's, in the run that goes on too, whose bits a resumed one has then.
        whole = self._moments.over_ranks()
        checkpoint[MOMENTS_KEY] = whole.state_dict()
        self._moments = whole if rank() == 0 else self._no_moments()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self._moments = None
        if MOMENTS_KEY not in checkpoint:
            return
        self._moments = self._no_moments()  # on every rank: all take part in the next save, before a batch too
        if rank() == 0:
            self._moments.load_state_dict(checkpoint[MOMENTS_KEY])
