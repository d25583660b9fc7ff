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


class StreamingLogMeanExp:
    """log of the mean of exp(w) over values w that come a chunk at a time; holds (B,) numbers however many come.

    With the log importance weights of an example this is the estimate of log p(x) of Burda, Grosse & Salakhutdinov,
    Importance Weighted Autoencoders (2016), Eq. 8, https://arxiv.org/abs/1509.00519
    """

    def __init__(self) -> None:
        self._log_sum: Tensor | None = None
        self._count = 0

    def update(self, log_values: Tensor) -> None:
        """Add a chunk: ``log_values`` (k, B)."""
        # float64 exists on every device but MPS.
        log_values = log_values.detach()
        log_values = log_values.cpu().double() if log_values.device.type == "mps" else log_values.double()
        log_sum = log_values.logsumexp(0)
        self._log_sum = log_sum if self._log_sum is None else torch.logaddexp(self._log_sum, log_sum)
        self._count += len(log_values)

    def compute(self) -> Tensor:
        """(B,) float64: log((1/K) sum_k exp(w_k)) over all K values that came."""
        if self._log_sum is None:
            raise ValueError("no values yet")
        return self._log_sum - torch.tensor(self._count, dtype=torch.float64).log().to(self._log_sum.device)
