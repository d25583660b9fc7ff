"""Priors that know the condition."""

from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.errors import UserError


class ConditionalPrior(nn.Module):
    """p(z|c), its parameters read from the condition.

    The "prior network" of Sohn, Lee & Yan (2015), https://papers.nips.cc/paper/5775

    Args:
        dim: length of a latent.
        network: conditions (B, *condition_shape) -> the head's parameters.
        head: parameters -> a distribution: batch (B,), event (dim,).

    Raises:
        UserError: ``dim`` is less than 1.
    """

    def __init__(self, dim: int, network: nn.Module, head: nn.Module) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"a prior's dim must be at least 1, got {dim}")
        self.dim = dim
        self.network = network
        self.head = head

    def forward(self, condition: Tensor) -> Distribution:
        """(B, *condition_shape) -> p(z|c): batch (B,), event (dim,)."""
        return self.head(self.network(condition))
