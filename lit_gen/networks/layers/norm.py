"""Batch normalization whose training statistics are those of the joint batch of all ranks.

Ioffe & Szegedy, Batch Normalization (2015), Algorithm 1, https://arxiv.org/abs/1502.03167
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lit_gen.distributed import sum_over_ranks, world_size
from lit_gen.tensor import at_least_single


class _SumOverRanks(torch.autograd.Function):
    """The sum over ranks, differentiable: each rank's input enters every rank's loss, so gradients are summed too.

    By this same function, so that a gradient through it can be differentiated again.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return sum_over_ranks(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _SumOverRanks.apply(gradient)


class Moments(NamedTuple):
    """Per channel, over the joint batch.

    Attributes:
        mean: (C,).
        variance: (C,), biased (divided by the count).
        count: (), how many values a channel has.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor


def joint_moments(x: Tensor) -> Moments:
    """Moments of (B, C, ...) per channel over this rank's and all other ranks' values, in one collective call.

    Ranks may hold different numbers of examples. Every rank must call it, and backpropagate through it, as often.
    """
    dims = [0, *range(2, x.dim())]
    count = x.numel() // x.shape[1]
    variance, mean = torch.var_mean(x, dims, correction=0)
    # Float64: E[x^2] - E[x]^2 of float32 sums would lose the variance of channels with a large mean.
    mean, variance = mean.double(), variance.double()
    sums = torch.cat([mean, variance + mean**2, mean.new_ones(1)]) * count
    total = _SumOverRanks.apply(sums)
    mean, square = (total[:-1] / total[-1]).chunk(2)
    variance = (square - mean**2).clamp_min(0.0)
    return Moments(mean.to(x.dtype), variance.to(x.dtype), total[-1].detach())


class _JointStatistics:
    """Mixed into torch's batch norms: in training over several ranks, normalize by the joint batch's moments.

    In a single process, and in evaluation, this is torch's own layer, so that a network of it can be called there on
    one rank alone. With equal shares of a batch, the mean over ranks of the gradients is that of one process on the
    whole batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        full = at_least_single(x)
        moments = joint_moments(full)
        if self.track_running_stats:
            self._update_running_statistics(moments)
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale = torch.rsqrt(moments.variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        y = (full - moments.mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            y = y + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, moments: Moments) -> None:
        self.num_batches_tracked += 1
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = moments.variance * (moments.count / (moments.count - 1)).to(moments.variance.dtype)
        self.running_mean.lerp_(moments.mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


class BatchNorm1d(_JointStatistics, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` over the joint batch of all ranks: (B, C) or (B, C, L) -> the same shape."""


class BatchNorm2d(_JointStatistics, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` over the joint batch of all ranks: (B, C, H, W) -> the same shape."""
