"""f-divergences D_f(p || q) = E_q[f(p / q)] and what their games need of them.

Nowozin, Cseke & Tomioka, f-GAN (2016), Tables 1, 2, 5 and 6, https://arxiv.org/abs/1606.00709. The conjugates are
written at g_f(v), simplified, so that no large intermediate number overflows.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from lit_gen.errors import UserError


class Divergence(nn.Module):
    """A convex f with f(1) = 0, and its convex conjugate f*(t) = sup over u >= 0 of u t - f(u)."""

    def f(self, ratio: Tensor) -> Tensor:
        """f at u = p / q > 0, elementwise."""
        raise NotImplementedError

    def activation(self, score: Tensor) -> Tensor:
        """g_f: any real number -> t in the domain of f*, rising."""
        raise NotImplementedError

    def conjugate_at(self, score: Tensor) -> Tensor:
        """f*(g_f(score)), or what is said there."""
        raise NotImplementedError


class KullbackLeibler(Divergence):
    """KL(p || q)."""

    def f(self, ratio: Tensor) -> Tensor:
        """u log u."""
        return torch.xlogy(ratio, ratio)

    def activation(self, score: Tensor) -> Tensor:
        """v."""
        return score

    def conjugate_at(self, score: Tensor) -> Tensor:
        """exp(v - 1)."""
        return (score - 1).exp()


class ReverseKullbackLeibler(Divergence):
    """KL(q || p)."""

    def f(self, ratio: Tensor) -> Tensor:
        """-log u."""
        return -ratio.log()

    def activation(self, score: Tensor) -> Tensor:
        """-exp(-v)."""
        return -(-score).exp()

    def conjugate_at(self, score: Tensor) -> Tensor:
        """-1 - log(-t) = v - 1."""
        return score - 1


class Pearson(Divergence):
    """Pearson's chi^2: E_q[(p / q - 1)^2]."""

    def f(self, ratio: Tensor) -> Tensor:
        """(u - 1)^2."""
        return (ratio - 1).square()

    def activation(self, score: Tensor) -> Tensor:
        """v."""
        return score

    def conjugate_at(self, score: Tensor) -> Tensor:
        """t^2 / 4 + t, the conjugate for t >= -2.

        Below, it is that of (u - 1)^2 over all real u, as in the paper's Table 6; over u >= 0 the conjugate is -1. It
        is the larger, so that the game's bound remains a lower bound on the divergence, and the same at the best score,
        2 (p / q - 1) >= -2. Unlike -1 it has a gradient there.
        """
        return score.square() / 4 + score


class Neyman(Divergence):
    """Neyman's chi^2: E_p[(q / p - 1)^2]."""

    def f(self, ratio: Tensor) -> Tensor:
        """(1 - u)^2 / u."""
        return (1 - ratio).square() / ratio

    def activation(self, score: Tensor) -> Tensor:
        """1 - exp(-v)."""
        return -torch.expm1(-score)

    def conjugate_at(self, score: Tensor) -> Tensor:
        """2 - 2 sqrt(1 - t) = 2 - 2 exp(-v / 2)."""
        return -2 * torch.expm1(-score / 2)


class SquaredHellinger(Divergence):
    """The integral of (sqrt p - sqrt q)^2."""

    def f(self, ratio: Tensor) -> Tensor:
        """(sqrt u - 1)^2."""
        return (ratio.sqrt() - 1).square()

    def activation(self, score: Tensor) -> Tensor:
        """1 - exp(-v)."""
        return -torch.expm1(-score)

    def conjugate_at(self, score: Tensor) -> Tensor:
        """t / (1 - t) = exp(v) - 1."""
        return torch.expm1(score)


class JensenShannon(Divergence):
    """KL(p || m) + KL(q || m) with m = (p + q) / 2: the paper's, twice the usual one, at most 2 log 2."""

    def f(self, ratio: Tensor) -> Tensor:
        """-(u + 1) log((1 + u) / 2) + u log u."""
        return torch.xlogy(ratio, ratio) - (ratio + 1) * ((1 + ratio) / 2).log()

    def activation(self, score: Tensor) -> Tensor:
        """log 2 - log(1 + exp(-v))."""
        return math.log(2) + logsigmoid(score)

    def conjugate_at(self, score: Tensor) -> Tensor:
        """-log(2 - exp(t)) = log(1 + exp(v)) - log 2."""
        return softplus(score) - math.log(2)


class GANDivergence(Divergence):
    """What the original game bounds: ``JensenShannon`` minus log 4; its f(1) is -log 4, not 0."""

    def f(self, ratio: Tensor) -> Tensor:
        """u log u - (u + 1) log(u + 1)."""
        return torch.xlogy(ratio, ratio) - (ratio + 1) * (ratio + 1).log()

    def activation(self, score: Tensor) -> Tensor:
        """-log(1 + exp(-v))."""
        return logsigmoid(score)

    def conjugate_at(self, score: Tensor) -> Tensor:
        """-log(1 - exp(t)) = log(1 + exp(v))."""
        return softplus(score)


class TotalVariation(Divergence):
    """Half the integral of |p - q|."""

    def f(self, ratio: Tensor) -> Tensor:
        """|u - 1| / 2."""
        return (ratio - 1).abs() / 2

    def activation(self, score: Tensor) -> Tensor:
        """tanh(v) / 2."""
        return score.tanh() / 2

    def conjugate_at(self, score: Tensor) -> Tensor:
        """t, for |t| <= 1/2."""
        return score.tanh() / 2


class Alpha(Divergence):
    """The alpha-divergence (E_q[(p / q)^alpha] - 1) / (alpha (alpha - 1)).

    It tends to KL(p || q) as alpha tends to 1 and to KL(q || p) as it tends to 0.

    Args:
        alpha: any number but 0 and 1.

    Raises:
        UserError: alpha is 0 or 1.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        if alpha in (0.0, 1.0):
            raise UserError("Alpha's alpha must not be 0 or 1: take ReverseKullbackLeibler or KullbackLeibler")
        self.alpha = alpha

    def f(self, ratio: Tensor) -> Tensor:
        """(u^alpha - 1 - alpha (u - 1)) / (alpha (alpha - 1))."""
        return (ratio**self.alpha - 1 - self.alpha * (ratio - 1)) / (self.alpha * (self.alpha - 1))

    def activation(self, score: Tensor) -> Tensor:
        """v for alpha > 1; for alpha < 1, where t < 1 / (1 - alpha), 1 / (1 - alpha) - log(1 + exp(-v))."""
        return score if self.alpha > 1 else 1 / (1 - self.alpha) + logsigmoid(score)

    def conjugate_at(self, score: Tensor) -> Tensor:
        """((t (alpha - 1) + 1)^(alpha / (alpha - 1)) - 1) / alpha; below t = 1 / (1 - alpha) it stays where it is for
        alpha > 1, since u isn't negative."""
        power = self.alpha / (self.alpha - 1)
        if self.alpha > 1:
            return ((score * (self.alpha - 1) + 1).clamp_min(0.0) ** power - 1) / self.alpha
        # t (alpha - 1) + 1 = (1 - alpha) softplus(-v), by the softplus' logarithm, which falls as -v: powers may be
        # negative. Constants are taken together, as each operation on few numbers costs as much as one on many.
        other = -score
        log_softplus = torch.where(other < -30, other, softplus(other.clamp_min(-30)).log())
        return (power * log_softplus).exp() * ((1 - self.alpha) ** power / self.alpha) - 1 / self.alpha
