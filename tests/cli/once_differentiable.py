"""A discriminator that a user may have written: its own function, differentiable once."""

import torch
from torch import nn

from lit_gen.networks.mlp import MLP


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


class OnceDifferentiable(nn.Module):
    """Points in the plane -> scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = MLP(2, 8, []), MLP(8, (), [8])

    def forward(self, x):
        """(B, 2) -> (B,)."""
        return self.second(_Once.apply(self.first(x)))
