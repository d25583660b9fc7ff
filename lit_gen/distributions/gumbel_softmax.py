"""Discrete codes that a gradient passes through.

Jang, Gu & Poole, Categorical Reparameterization with Gumbel-Softmax (2017), https://arxiv.org/abs/1611.01144
Maddison, Mnih & Teh, The Concrete Distribution (2017), https://arxiv.org/abs/1611.00712
"""

from collections.abc import Callable

from torch import Tensor, nn

from lit_gen.distributions.one_hot import OneHot, one_hot_of_largest
from lit_gen.distributions.parameters import several_params
from lit_gen.errors import UserError


class RelaxedOneHot(OneHot):
    """``OneHot`` whose ``rsample`` gives relaxed draws: points of the simplex, one-hot as the temperature goes to 0.

    Everything else, ``log_prob`` and the KL too, is the discrete variables'.

    Args:
        logits: as in ``OneHot``.
        temperature: above 0.
        straight_through: ``rsample`` gives the nearest one-hot vectors, with the relaxed draws' gradient: discrete
            draws, and a gradient with more bias.
    """

    has_rsample = True

    def __init__(self, logits: Tensor, temperature: float, straight_through: bool = False) -> None:
        super().__init__(logits)
        self.temperature = temperature
        self.straight_through = straight_through

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, N * K) in [0, 1], each K of which sum to 1; Jang et al., Eq. 2."""
        relaxed = (self.perturbed(sample_shape) / self.temperature).softmax(-1)
        if self.straight_through:
            relaxed = one_hot_of_largest(relaxed) + (relaxed - relaxed.detach())
        return relaxed.flatten(-2)


class GumbelSoftmaxHead(nn.Module):
    """Logits (B, K, N) -> N variables of K classes: batch (B,), event (N * K,).

    In training the draws are relaxed, so the terms of the step are those of a surrogate and no bound on log p(x). In
    evaluation they are one-hot and every figure is the discrete model's: its bound, its importance weights.

    Args:
        num_classes: K; a network before it with ``params_per_output`` K gives the logits.
        temperature: of the relaxed draws, or a function of the training step, as ``LinearWarmup`` from 1 to 0.5.
        straight_through: as in ``RelaxedOneHot``.

    Raises:
        UserError: fewer than 2 classes, a temperature that isn't positive, or parameters of another shape.
    """

    def __init__(
        self,
        num_classes: int,
        temperature: float | Callable[[int], float] = 1.0,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise UserError(f"a GumbelSoftmaxHead's num_classes must be at least 2, got {num_classes}")
        self.params_per_output = num_classes
        self.schedule = temperature
        self.straight_through = straight_through
        self.at_step(0)

    def at_step(self, step: int) -> None:
        """Take the temperature of a training step; ``LatentVariableModel`` calls it before each."""
        self.temperature = self.schedule(step) if callable(self.schedule) else self.schedule
        if not self.temperature > 0:
            raise UserError(
                f"a GumbelSoftmaxHead's temperature must be positive, got {self.temperature} at step {step}"
            )

    def forward(self, params: Tensor) -> OneHot:
        """(B, K, N), or (B, K, *shape) with N elements -> a distribution with batch (B,)."""
        logits = several_params(params, self.params_per_output, "GumbelSoftmaxHead").flatten(2).transpose(1, 2)
        if self.training:
            return RelaxedOneHot(logits, self.temperature, self.straight_through)
        return OneHot(logits)
