"""Negative log-likelihood of a data set, and the importance-weighted estimate of one example's."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanEstimate(NamedTuple):
    """A mean over the examples of a data set.

    Attributes:
        mean: the mean, in nats; NaN if there was no example.
        standard_error: the sample's standard deviation / sqrt(count); NaN with fewer than two examples.
        count: number of examples.
    """

    mean: Tensor
    standard_error: Tensor
    count: int


class NegativeLogLikelihood(Metric):
    """Mean of -log p(x) over a data set in nats, every example counted once at any batch size and world size.

    An example whose log p(x) isn't finite is never left out: it makes the mean non-finite.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total_of_squares", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, log_px: Tensor) -> None:
        """Add examples. ``log_px``: (B,) values of log p(x) in nats."""
        if log_px.dim() != 1:
            raise ValueError(f"expected one log p(x) an example, shape (B,), got {tuple(log_px.shape)}")
        nll = -log_px.detach().to(self.total.device).to(self.total.dtype)
        self.total = self.total + nll.sum()
        self.total_of_squares = self.total_of_squares + nll.square().sum()
        self.count = self.count + nll.numel()

    def compute(self) -> MeanEstimate:
        """The mean and its standard error."""
        mean = self.total / self.count
        variance = (self.total_of_squares - self.count * mean.square()).clamp_min(0) / (self.count - 1)
        standard_error = (variance / self.count).sqrt() if self.count > 1 else torch.full_like(mean, torch.nan)
        return MeanEstimate(mean, standard_error, int(self.count))


class ImportanceEstimate(NamedTuple):
    """Importance sampling's estimate of log p(x) for each example, and how far its K draws can be trusted.

    Attributes:
        log_px: (B,), log of the mean weight, in nats.
        effective_sample_size: (B,) in [1, K], (sum w)^2 / sum w^2: how many draws of equal weight would say as much.
            Kong, A Note on Importance Sampling using Standardized Weights (1992).
        largest_share: (B,) in [1/K, 1], the largest weight's share of the sum. Without that draw the estimate would be
            lower by -log(1 - share), up to the 1/K.
    """

    log_px: Tensor
    effective_sample_size: Tensor
    largest_share: Tensor


class StreamingLogMeanExp:
    """log of the mean of exp(w) over values w that come a chunk at a time; holds (B,) numbers however many come.

    With the log importance weights of an example this is the estimate of log p(x) of Burda, Grosse & Salakhutdinov,
    Importance Weighted Autoencoders (2016), Eq. 8, https://arxiv.org/abs/1509.00519
    """

    def __init__(self) -> None:
        self._log_sum: Tensor | None = None
        self._log_sum_of_squares: Tensor | None = None
        self._largest: Tensor | None = None
        self._count = 0

    def update(self, log_values: Tensor) -> None:
        """Add a chunk: ``log_values`` (k, B)."""
        # float64 exists on every device but MPS.
        log_values = log_values.detach()
        log_values = log_values.cpu().double() if log_values.device.type == "mps" else log_values.double()
        largest = log_values.amax(0)
        # One pass of exponentials for both sums: two logsumexp take twice as long.
        shift = torch.where(largest.isfinite(), largest, 0.0)
        shares = (log_values - shift).exp_()
        log_sum = shares.sum(0).log_() + shift
        log_sum_of_squares = shares.square_().sum(0).log_() + 2 * shift
        if self._log_sum is not None:
            log_sum = torch.logaddexp(self._log_sum, log_sum)
            log_sum_of_squares = torch.logaddexp(self._log_sum_of_squares, log_sum_of_squares)
            largest = torch.maximum(self._largest, largest)
        self._log_sum, self._log_sum_of_squares, self._largest = log_sum, log_sum_of_squares, largest
        self._count += len(log_values)

    def compute(self) -> ImportanceEstimate:
        """Of all K values that came, in float64: log((1/K) sum_k exp(w_k)) and how the exp(w_k) share the sum."""
        if self._log_sum is None:
            raise ValueError("no values yet")
        log_count = torch.tensor(self._count, dtype=torch.float64).log().to(self._log_sum.device)
        return ImportanceEstimate(
            log_px=self._log_sum - log_count,
            effective_sample_size=(2 * self._log_sum - self._log_sum_of_squares).exp(),
            largest_share=(self._largest - self._log_sum).exp(),
        )


class SamplingQuality(NamedTuple):
    """How far the importance-weighted log-likelihood of a data set can be trusted.

    Attributes:
        effective_sample_size: mean over the examples.
        standard_error: Monte-Carlo standard error of the mean log p(x) over these very examples, in nats: how far
            another seed of the noise would move it. By the delta method, which holds where no weight dominates; NaN
            for K = 1.
        num_dominated: examples of which one draw has more than half of the weight, so that their effective sample size
            is below 4.
        count: number of examples.
    """

    effective_sample_size: Tensor
    standard_error: Tensor
    num_dominated: int
    count: int

    @property
    def too_few_samples(self) -> bool:
        """Whether more than one example in twenty rests on one draw.

        K has to be of the order of exp(KL(p(z|x) || q(z|x))): Chatterjee & Diaconis, The Sample Size Required in
        Importance Sampling (2018), Theorem 1.1, https://arxiv.org/abs/1511.01437. With fewer draws the sum is that of
        its largest terms, and log p(x) comes out too low.
        """
        return self.num_dominated > 0.05 * self.count


class ImportanceSampling(Metric):
    """Mean effective sample size and Monte-Carlo error of importance-weighted log-likelihoods over a data set.

    Args:
        num_samples: K.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, num_samples: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_samples = num_samples
        self.add_state("total_size", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total_variance", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_dominated", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, estimate: ImportanceEstimate) -> None:
        """Add examples."""
        size = estimate.effective_sample_size.to(self.total_size.device)
        # Var(log mean w) is about Var(w) / (K E[w]^2), the delta method, with K - 1 in the sample's variance.
        variance = (1 / size - 1 / self.num_samples) * self.num_samples / (self.num_samples - 1 or torch.nan)
        self.total_size = self.total_size + size.sum()
        self.total_variance = self.total_variance + variance.clamp_min(0).sum()
        # What isn't a number is not to be trusted either.
        self.num_dominated = self.num_dominated + (~(estimate.largest_share <= 0.5)).sum().to(self.count.device)
        self.count = self.count + size.numel()

    def compute(self) -> SamplingQuality:
        """Over all examples of all ranks."""
        standard_error = self.total_variance.sqrt() / self.count
        return SamplingQuality(self.total_size / self.count, standard_error, int(self.num_dominated), int(self.count))
