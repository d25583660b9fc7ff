"""Discrete codes: independent variables over a few classes, as one-hot vectors."""

from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, register_kl
from torch.nn import functional as F

from lit_gen.errors import UserError


class OneHot(Distribution):
    """N independent variables of K classes; the event is their one-hot vectors, one after another, (N * K,).

    ``kl_divergence`` between two has its closed form.

    Args:
        logits: (*batch_shape, N, K), unnormalized log-probabilities of the classes.
    """

    arg_constraints = {}
    is_discrete = True

    def __init__(self, logits: Tensor) -> None:
        self.log_probs = logits.log_softmax(-1)
        super().__init__(logits.shape[:-2], torch.Size([prod(logits.shape[-2:])]), validate_args=False)

    @property
    def num_variables(self) -> int:
        """N."""
        return self.log_probs.shape[-2]

    @property
    def num_classes(self) -> int:
        """K."""
        return self.log_probs.shape[-1]

    @property
    def mean(self) -> Tensor:
        """(*batch_shape, N * K), the classes' probabilities."""
        return self.log_probs.exp().flatten(-2)

    def elementwise(self) -> "OneHot":
        """The same variables, each an event of its own: batch (*batch_shape, N), event (K,)."""
        return OneHot(self.log_probs.unsqueeze(-2))

    def perturbed(self, sample_shape: tuple[int, ...]) -> Tensor:
        """(*sample_shape, *batch_shape, N, K): log-probabilities plus Gumbel noise, whose largest is the drawn class.

        Maddison, Tarlow & Minka, A* Sampling (2014), Section 2, https://arxiv.org/abs/1411.0030
        """
        noise = torch.empty(
            *sample_shape, *self.log_probs.shape, dtype=self.log_probs.dtype, device=self.log_probs.device
        )
        # A zero, which single precision may round to, would be an infinite Gumbel variable.
        return self.log_probs - noise.exponential_().clamp_min_(torch.finfo(noise.dtype).tiny).log()

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, N * K) zeros and ones."""
        return one_hot_of_largest(self.perturbed(sample_shape)).flatten(-2)

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """As ``sample``: no gradient passes through the draws themselves."""
        return self.sample(sample_shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., *batch_shape, N * K) -> (..., *batch_shape), log-probabilities in nats, summed over the variables.

        Linear in z: between one-hot vectors the weighted mean of the classes' log-probabilities.
        """
        return (z * self.log_probs.flatten(-2)).sum(-1)


def one_hot_of_largest(x: Tensor) -> Tensor:
    """(..., K) -> (..., K), one at the largest and zeros elsewhere, without a gradient."""
    return F.one_hot(x.argmax(-1), x.shape[-1]).to(x.dtype)


@register_kl(OneHot, OneHot)
def _kl_one_hot(q: OneHot, p: OneHot) -> Tensor:
    return (q.log_probs.exp() * (q.log_probs - p.log_probs)).sum((-2, -1))


class UniformCategorical(nn.Module):
    """Every class of every variable equally likely. Calling it gives the distribution.

    Args:
        num_variables: N.
        num_classes: K; a code is N one-hot vectors of length K: ``dim`` is N * K.

    Raises:
        UserError: no variables, or fewer than 2 classes.
    """

    def __init__(self, num_variables: int, num_classes: int) -> None:
        super().__init__()
        if num_variables < 1 or num_classes < 2:
            raise UserError(
                "UniformCategorical needs at least 1 variable of at least 2 classes, got num_variables "
                f"{num_variables} and num_classes {num_classes}"
            )
        self.dim = num_variables * num_classes
        # A buffer so that it follows the device; not persistent, as it holds nothing worth saving.
        self.register_buffer("_logits", torch.zeros(num_variables, num_classes), persistent=False)

    def forward(self) -> OneHot:
        """The distribution: batch (), event (dim,)."""
        return OneHot(self._logits)

    def check_posterior(self, posterior: Distribution) -> None:
        """Refuse codes that are no one-hot vectors of these sizes.

        Raises:
            UserError: the posterior isn't ``OneHot``, or has other sizes.
        """
        if not isinstance(posterior, OneHot):
            raise UserError(
                f"UniformCategorical is a prior of one-hot codes, as GumbelSoftmaxHead's, not of "
                f"{type(posterior).__name__}'s"
            )
        theirs, own = (posterior.num_variables, posterior.num_classes), tuple(self._logits.shape)
        if theirs != own:
            raise UserError(
                f"the posterior's code has {theirs[0]} variables of {theirs[1]} classes, but the prior's has {own[0]} "
                f"of {own[1]}: make them equal"
            )
