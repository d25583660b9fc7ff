"""Bernoulli likelihoods of pixels."""

from math import gcd

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.distributions.support import check_unit_interval
from lit_gen.tensor import at_least_single

_SMALLEST_PRODUCT = 1e-30
"""Below it a product of probabilities may have lost digits: single precision's end is near 1e-38."""


def _products(factors: Tensor) -> Tensor:
    """(B, D) -> (B, D / G), products of G of a row's numbers each: a sum of logarithms is that of fewer products'.

    G is the greatest common divisor of D and 16.
    """
    return factors.unflatten(1, (gcd(factors.shape[1], 16), -1)).prod(1)


def _log_prob_of_one(logits: Tensor, x: Tensor) -> Tensor | None:
    """sum_d x_d l_d - softplus(l_d) of one example at many logits l, without a gradient: (B, D), (D,) -> (B,).

    With r = round(x) that is the sum of log sigmoid((2 r - 1) l) + (x - r) l, of which nothing cancels and the second
    term is mostly 0. None where a product of probabilities underflows.
    """
    nearest = x.round()
    products = _products((logits * (2 * nearest - 1)).sigmoid_())
    if not products.amin() > _SMALLEST_PRODUCT:
        return None
    log_prob = products.log_().sum(1)
    return log_prob if torch.equal(x, nearest) else log_prob.add_(logits.mv(x - nearest))


def _log_prob_in_one_pass(logits: Tensor, x: Tensor) -> Tensor:
    """sum_d x_d l_d - softplus(l_d) without a gradient, as a compiler makes one pass of it: (B, D), (B, D) -> (B,).

    No branch hangs on a value: with s = (2 r - 1) l, log sigmoid(s) = min(s, 0) - log(1 + exp(-|s|)), and products of
    16 factors in (1, 2] stay in range.
    """
    nearest = x.round()
    signed = logits * (2 * nearest - 1)
    linear = signed.clamp(max=0) + (x - nearest) * logits
    groups = (gcd(logits.shape[1], 16), -1)
    products = (1 + (-signed.abs()).exp()).unflatten(1, groups).prod(1)
    return (linear.unflatten(1, groups).sum(1) - products.log()).sum(1)


class _SummedLogProb(torch.autograd.Function):
    """sum_d x_d l_d - softplus(l_d) for logits l, in less time than the binary cross entropy and its gradient.

    With p = sigmoid(l), softplus(l) = max(l, 0) - log max(p, 1 - p). The sum of the logarithms is that of products'
    logarithms, of factors that are at least 1/2, so nothing underflows, and the gradient, x - p, is at hand.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, x: Tensor) -> Tensor:
        """(B, D), (B, D) -> (B,)."""
        # Pixel by pixel: where the logits are large, the sums of the two terms all but cancel.
        scratch = logits.relu().addcmul_(logits, x, value=-1)
        excess = scratch.sum(1)
        # max(p, 1 - p), in fewer passes where no gradient asks for p itself
        if any(ctx.needs_input_grad):
            p = logits.sigmoid()
            ctx.save_for_backward(logits, x, p)
            likelier = torch.sub(p, 0.5, out=scratch).abs_().add_(0.5)
        else:
            likelier = torch.abs(logits, out=scratch).sigmoid_()
        return _products(likelier).log_().sum(1) - excess

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, x, p = ctx.saved_tensors
        gradient = gradient.unsqueeze(1)
        for_logits, for_x = ctx.needs_input_grad
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            return (x - logits.sigmoid()) * gradient if for_logits else None, logits * gradient if for_x else None
        return (x - p).mul_(gradient) if for_logits else None, logits * gradient if for_x else None


class PixelwiseBernoulli(Distribution):
    """Independent Bernoulli variables: batch (B,), event event_shape.

    ``torch.distributions.Independent(Bernoulli(...))`` with less ceremony: in a small model's training step the
    generic classes' bookkeeping costs more than their arithmetic.

    Args:
        logits: (B, *event_shape), log p / (1 - p).
    """

    arg_constraints = {}

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:1], logits.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(B, *event_shape), p."""
        return self.logits.sigmoid()

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, B, *event_shape) zeros and ones."""
        return self.mean.expand(*sample_shape, *self.logits.shape).bernoulli()

    def log_prob(self, x: Tensor) -> Tensor:
        """(B, *event_shape) in [0, 1] -> (B,), the sum over the event of x log p + (1 - x) log(1 - p), in nats."""
        logits, x = self.logits.flatten(1), x.flatten(1).to(self.logits.dtype)
        if torch.compiler.is_compiling() and not torch.is_grad_enabled():
            return _log_prob_in_one_pass(logits, x)
        if x.stride(0) == 0 and logits.device.type == "cpu" and not torch.is_grad_enabled():
            log_prob = _log_prob_of_one(logits, x[0])  # x is one example, expanded
            if log_prob is not None:
                return log_prob
        return _SummedLogProb.apply(logits, x)


class BernoulliHead(nn.Module):
    """Logits (B, *event_shape) -> independent Bernoulli variables: batch (B,), event event_shape.

    ``log_prob`` takes x in [0, 1] and sums x log p + (1 - x) log(1 - p) over the event, in nats: the log-probability
    where x is 0 or 1, the expectation of it under Bernoulli(x) where x is a grey level. ``mean`` is p.
    """

    params_per_output = 1
    num_levels = 2

    def forward(self, params: Tensor) -> PixelwiseBernoulli:
        """(B, *event_shape) -> a distribution with batch (B,)."""
        return PixelwiseBernoulli(at_least_single(params))

    def params_for_mean(self, mean: Tensor) -> Tensor:
        """Means in [0, 1], brought into [0.001, 0.999] -> logits, of the same shape."""
        return mean.clamp(1e-3, 1 - 1e-3).logit()

    def check(self, x: Tensor, what: str = "the data") -> None:
        """Refuse values that there are not.

        Raises:
            UserError: ``x`` leaves [0, 1].
        """
        check_unit_interval(x, type(self).__name__, what)
