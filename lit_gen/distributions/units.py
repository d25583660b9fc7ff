"""Layers of a Boltzmann machine: units that are independent given their inputs.

Exponential-family harmoniums: Welling, Rosen-Zvi & Hinton (2004),
https://papers.nips.cc/paper/2672-exponential-family-harmoniums-with-an-application-to-information-retrieval
"""

from collections.abc import Callable
from math import log, pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.tensor import at_least_single


class Units(nn.Module):
    """Base of the kinds of units.

    Given an input a, the bias included, a unit's state x has density base(x) exp(s(x) a) / normalizer(a), where
    s is linear. Two layers are coupled by the energy -s(v)' W' s(h), so that each is given its input by the other's
    statistic s.

    Args:
        shape: shape of the layer, as of the images it stands for; a number for a vector. States are flat, (…, D).

    Raises:
        UserError: a size below 1.
    """

    def __init__(self, shape: int | tuple[int, ...]) -> None:
        super().__init__()
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or min(self.shape) < 1:
            raise UserError(f"{type(self).__name__}: every entry of the shape must be at least 1, got {self.shape}")
        self.num_units = torch.Size(self.shape).numel()
        self.bias = nn.Parameter(torch.zeros(self.num_units))

    def statistic(self, x: Tensor) -> Tensor:
        """(…, D) states -> s(x), (…, D)."""
        raise NotImplementedError

    def log_base(self, x: Tensor) -> Tensor | float:
        """(…, D) states -> log base(x), summed over units: (…,), or a number where it is constant."""
        raise NotImplementedError

    def log_normalizer(self, inputs: Tensor) -> Tensor:
        """(…, D) inputs -> log of the integral of base(x) exp(s(x) a) over states, summed over units: (…,) nats."""
        raise NotImplementedError

    def mean(self, inputs: Tensor) -> Tensor:
        """(…, D) inputs -> the mean state, (…, D)."""
        raise NotImplementedError

    def draw(self, mean: Tensor) -> Tensor:
        """(…, D) mean states -> a state drawn, (…, D)."""
        raise NotImplementedError

    def sample(self, inputs: Tensor) -> Tensor:
        """(…, D) inputs -> a state drawn, (…, D)."""
        return self.draw(self.mean(inputs))

    def bias_for_mean(self, mean: Tensor, count: int) -> Tensor:
        """The bias (D,) by which units without other input have about the mean (D,) of ``count`` states."""
        raise NotImplementedError

    def check(self, x: Tensor, what: str) -> None:
        """Refuse states that there are not.

        Raises:
            UserError: ``x``, which the message calls ``what``, holds some.
        """

    def evaluation_terms(self, x: Tensor, index: Tensor, free_energy: Callable) -> dict[str, Tensor]:
        """Named (B,) figures of states (B, D) that this kind of units allows, given their free energy."""
        return {}


class BernoulliUnits(Units):
    """States 0 and 1 (as data also grey levels between), s(x) = x, p(x = 1) = sigmoid(a)."""

    def statistic(self, x: Tensor) -> Tensor:
        return x

    def log_base(self, x: Tensor) -> float:
        return 0.0

    def log_normalizer(self, inputs: Tensor) -> Tensor:
        return F.softplus(at_least_single(inputs)).sum(-1)

    def mean(self, inputs: Tensor) -> Tensor:
        return at_least_single(inputs).sigmoid()

    def draw(self, mean: Tensor) -> Tensor:
        return torch.rand_like(mean).lt_(mean)  # half the time of torch.bernoulli on a CPU

    def bias_for_mean(self, mean: Tensor, count: int) -> Tensor:
        # One more example of each state: no bias is infinite.
        return torch.logit((mean * count + 1) / (count + 2))

    def check(self, x: Tensor, what: str) -> None:
        low, high = (float(value) for value in x.aminmax())
        if not (low >= 0.0 and high <= 1.0):
            raise UserError(
                f"Bernoulli units take values in [0, 1], but {what} reach from {low:.4g} to {high:.4g}: take "
                f"GaussianUnits, or bring them into that range"
            )

    def evaluation_terms(self, x: Tensor, index: Tensor, free_energy: Callable) -> dict[str, Tensor]:
        """The pseudo-log-likelihood, sum over i of log p(x_i | the others), estimated by D times one unit's.

        Which unit depends on the example's number alone. Besag (1975), https://doi.org/10.2307/2987782
        """
        unit = (index.remainder(2**31) * 2654435761).remainder(self.num_units).unsqueeze(1)
        own = x.gather(1, unit).squeeze(1)
        # log p(x_i = 1 | rest) - log p(x_i = 0 | rest)
        odds = free_energy(x.scatter(1, unit, 0.0)) - free_energy(x.scatter(1, unit, 1.0))
        return {"pseudo_log_likelihood": self.num_units * (own * F.logsigmoid(odds) + (1 - own) * F.logsigmoid(-odds))}

    @property
    def num_states(self) -> int:
        """2^D, the number of states of the whole layer."""
        return 2**self.num_units

    def states(self, first: int, last: int) -> Tensor:
        """The layer's states of numbers [first, last) in binary, (last - first, D), float64."""
        bits = torch.arange(self.num_units, device=self.bias.device)
        numbers = torch.arange(first, last, device=self.bias.device)
        return (numbers.unsqueeze(1) >> bits & 1).double()


class GaussianUnits(Units):
    """Real states, s(x) = x / std^2, x ~ N(a, std^2): inputs are in the units of the data.

    Cho, Ilin & Raiko, Improved Learning of Gaussian-Bernoulli Restricted Boltzmann Machines (2011), Section 3,
    https://doi.org/10.1007/978-3-642-21735-7_2

    Args:
        shape: shape of the layer.
        std: standard deviation given the other layer; what learning starts from where it is learned.
        learned_std: whether each unit learns its own.
        min_std: what learned ones don't go below. Without it the deviation of a unit that never varies in the data goes
            to 0 and its density has no maximum; the energy also loses 1e-7 (x / std)^2 nats in single precision.

    Raises:
        UserError: a standard deviation that isn't positive, or a learned one that starts below ``min_std``.
    """

    def __init__(
        self, shape: int | tuple[int, ...], std: float = 1.0, learned_std: bool = False, min_std: float = 1e-3
    ) -> None:
        super().__init__(shape)
        if not std > 0:
            raise UserError(f"GaussianUnits: std must be positive, got {std}")
        if learned_std and not 0 < min_std <= std:
            raise UserError(f"GaussianUnits: min_std must be above 0 and at most std, got {min_std} and {std}")
        self.min_std = min_std
        log_std = torch.full((self.num_units,), log(std))
        if learned_std:
            self.log_std = nn.Parameter(log_std)
        else:
            self.register_buffer("log_std", log_std)

    @property
    def std(self) -> Tensor:
        """(D,)."""
        return self._log_std.exp()

    @property
    def _log_std(self) -> Tensor:
        """(D,), the parameter, or the floor with the parameter's gradient, which may lead up again."""
        if not isinstance(self.log_std, nn.Parameter):
            return self.log_std
        return self.log_std + (self.log_std.detach().clamp_min(log(self.min_std)) - self.log_std.detach())

    def statistic(self, x: Tensor) -> Tensor:
        return x * (-2 * self._log_std).exp()

    def log_base(self, x: Tensor) -> Tensor:
        return -0.5 * (at_least_single(x) / self.std).square().sum(-1)

    def log_normalizer(self, inputs: Tensor) -> Tensor:
        inputs = at_least_single(inputs)
        log_std = self._log_std.to(inputs.dtype)  # in double precision all of it, where the inputs are
        return (0.5 * (inputs / log_std.exp()).square() + log_std + 0.5 * log(2 * pi)).sum(-1)

    def mean(self, inputs: Tensor) -> Tensor:
        return at_least_single(inputs)

    def draw(self, mean: Tensor) -> Tensor:
        return mean + self.std * torch.randn_like(mean)

    def bias_for_mean(self, mean: Tensor, count: int) -> Tensor:
        return mean
