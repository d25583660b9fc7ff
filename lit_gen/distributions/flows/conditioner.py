"""The networks inside a flow: they read one part of a code, and what the encoder tells, and steer the other part."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.tensor import at_least_single


class MaskedLinear(nn.Linear):
    """A linear layer, some of whose weights are nothing.

    Args:
        mask: (outputs, inputs), which weights there are.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.mask * self.weight, self.bias)


class Conditioner(nn.Module):
    """Layers with ELU between them, whose first also gets a linear map of the context.

    The last layer starts at zero, so that a flow starts as the same map for all codes and examples.

    Args:
        layers: (..., inputs) -> (..., num_outputs * outputs).
        num_outputs: P.
        context_dim: length of the context; 0 for none.
    """

    def __init__(self, layers: Sequence[nn.Linear], num_outputs: int, context_dim: int = 0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.num_outputs = num_outputs
        self.context = nn.Linear(context_dim, layers[0].out_features, bias=False) if context_dim else None
        nn.init.zeros_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """(..., B, inputs), (B, context_dim) -> (..., B, P, outputs)."""
        first, *others = self.layers
        hidden = first(z) if self.context is None else first(z) + self.context(context)
        for layer in others:
            hidden = layer(F.elu(hidden))
        return at_least_single(hidden).unflatten(-1, (self.num_outputs, -1))


def dense_layers(num_inputs: int, num_outputs: int, hidden_dims: Sequence[int]) -> list[nn.Linear]:
    """Layers that connect everything: ``num_inputs`` -> ``num_outputs``."""
    widths = [num_inputs, *_checked(hidden_dims), num_outputs]
    return [nn.Linear(before, after) for before, after in itertools.pairwise(widths)]


def autoregressive_layers(dim: int, num_outputs: int, hidden_dims: Sequence[int]) -> list[nn.Linear]:
    """Layers ``dim`` -> ``num_outputs * dim``, in which the outputs for coordinate i see the inputs before i alone.

    Germain et al., MADE (2015), Eq. 12-13, https://arxiv.org/abs/1502.03509. A hidden unit of degree k sees the first
    k coordinates; degrees go round from 0, whose units see the context alone, to dim - 1.
    """
    degrees = [torch.arange(1, dim + 1), *(torch.arange(width) % dim for width in _checked(hidden_dims))]
    masks = [after[:, None] >= before for before, after in itertools.pairwise(degrees)]
    masks.append(torch.arange(1, dim + 1).repeat(num_outputs)[:, None] > degrees[-1])
    return [MaskedLinear(mask) for mask in masks]


def _checked(hidden_dims: Sequence[int]) -> Sequence[int]:
    if any(width < 1 for width in hidden_dims):
        raise UserError(f"a flow's hidden_dims must be at least 1, got {list(hidden_dims)}")
    return hidden_dims
