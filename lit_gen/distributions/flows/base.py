"""What a normalizing flow is: an invertible map of codes whose Jacobian's determinant is cheap."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError


class Mapped(NamedTuple):
    """Codes after a map.

    Attributes:
        z: (..., Z).
        log_det: (...,), the logarithm of the absolute determinant of the map's Jacobian.
    """

    z: Tensor
    log_det: Tensor


class Flow(nn.Module):
    """Base: an invertible map of codes, which may depend on the example.

    Args:
        dim: Z, the length of a code.
        context_dim: numbers that the map reads for each example; 0 for one map for all.

    Raises:
        UserError: a number out of range.
    """

    def __init__(self, dim: int, context_dim: int = 0) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"a {type(self).__name__} flow's dim must be at least 1, got {dim}")
        if context_dim < 0:
            raise UserError(f"a {type(self).__name__} flow's context_dim must not be negative, got {context_dim}")
        self.dim = dim
        self.context_dim = context_dim

    def forward(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        """Codes (..., B, Z) and what the map reads, (B, context_dim), None where that is nothing -> mapped codes."""
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        """The codes that ``forward`` maps to ``z``, with the log-determinant of this map, the inverse.

        Raises:
            UserError: the flow has no inverse in closed form.
        """
        raise NotImplementedError


class Reversal(Flow):
    """The coordinates in reverse order: what comes first for one step comes last for the next."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        return Mapped(z.flip(-1), z.new_zeros(z.shape[:-1]))

    inverse = forward


class FlowSequence(Flow):
    """Flows one after another; each reads a context of its own, in their order.

    Args:
        flows: the first one maps the base's draws.

    Raises:
        UserError: no flows, or flows of several sizes.
    """

    def __init__(self, flows: Sequence[Flow]) -> None:
        dims = sorted({flow.dim for flow in flows})
        if len(dims) != 1:
            raise UserError(f"a {type(self).__name__} needs flows of one dim, got {dims or 'no flows'}")
        super().__init__(dims[0], sum(flow.context_dim for flow in flows))
        self.flows = nn.ModuleList(flows)

    def _contexts(self, context: Tensor | None) -> list[Tensor | None]:
        if context is None:
            return [None] * len(self.flows)
        return list(context.split([flow.context_dim for flow in self.flows], -1))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        total = torch.zeros((), dtype=z.dtype, device=z.device)
        for flow, own in zip(self.flows, self._contexts(context), strict=True):
            z, log_det = flow(z, own)
            total = total + log_det
        return Mapped(z, total)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        total = torch.zeros((), dtype=z.dtype, device=z.device)
        for flow, own in reversed(list(zip(self.flows, self._contexts(context), strict=True))):
            z, log_det = flow.inverse(z, own)
            total = total + log_det
        return Mapped(z, total)


def check_num_steps(flow: str, name: str, value: int) -> int:
    """``value``.

    Raises:
        UserError: it is less than 1.
    """
    if value < 1:
        raise UserError(f"a {flow} flow's {name} must be at least 1, got {value}")
    return value
