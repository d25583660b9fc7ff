"""Networks that are also told a condition: (B, *in_shape), (B, *condition_shape) -> (B, *out_shape)."""

from math import prod

import torch
from torch import Tensor, nn

from lit_gen.networks.mlp import MLP, as_shape


class ConditionedMLP(MLP):
    """A multilayer perceptron of an input and a condition, both flattened, one after the other.

    Args:
        in_shape: shape of one input; a number stands for the length of a vector.
        condition_shape: shape of one condition.
        out_shape: as in ``MLP``.
        hidden_dims: as in ``MLP``.
        **kwargs: as in ``MLP``.
    """

    def __init__(
        self,
        in_shape: int | tuple[int, ...],
        condition_shape: int | tuple[int, ...],
        out_shape: int | tuple[int, ...],
        hidden_dims: list[int],
        **kwargs,
    ) -> None:
        shapes = as_shape(in_shape), as_shape(condition_shape)
        super().__init__(sum(prod(shape) for shape in shapes), out_shape, hidden_dims, **kwargs)
        self.in_shape, self.condition_shape = shapes

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, *in_shape), (B, *condition_shape) -> (B, *out_shape), or (B, params_per_output, *out_shape)."""
        return super().forward(torch.cat([x.flatten(1), condition.flatten(1).to(x.dtype)], 1))


class Conditioned(nn.Module):
    """Any network, whose input carries the condition beside it.

    To a vector the condition is appended; to an image (B, C, H, W) it is added as channels, a vector as one constant
    map a number: Mirza & Osindero, Conditional Generative Adversarial Nets (2014), https://arxiv.org/abs/1411.1784.

    Args:
        network: takes vectors of D + prod(condition_shape) numbers, or images of so many more channels.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, D) and any condition; (B, C, H, W) and one (B, K) or (B, K, H, W) -> what the network gives."""
        if x.dim() == 2:
            condition = condition.flatten(1)
        elif condition.dim() == 2:
            condition = condition[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.network(torch.cat([x, condition.to(x.dtype)], 1))
