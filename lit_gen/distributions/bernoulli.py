"""Bernoulli likelihoods of pixels."""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.distributions.precision import at_least_single
from lit_gen.distributions.support import check_unit_interval


class _SummedLogProb(torch.autograd.Function):
    """sum_d x_d l_d - softplus(l_d) for logits l, in less time than the binary cross entropy and its gradient.

    With p = sigmoid(l), softplus(l) = max(l, 0) - log max(p, 1 - p). The sum of the logarithms is the logarithm of a
    product: factors are multiplied in sixteens first, each at least 1/2, so nothing underflows, and the gradient,
    x - p, is at hand.
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
        for _ in range(4):
            if likelier.shape[1] % 2:
                break
            first, second = likelier.chunk(2, 1)
            likelier = first.mul_(second)
        return likelier.log().sum(1) - excess

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
        return _SummedLogProb.apply(self.logits.flatten(1), x.flatten(1).to(self.logits.dtype))


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
