"""Layers by which a discriminator sees how alike the examples of a batch are, so that a collapsed generator shows.

In training the batch is the joint batch of all ranks, in rank order: every rank must call the layer, and backpropagate
through it, as often, with as many examples. In evaluation it is the batch at hand, and a rank may call it alone; what
the layer gives still depends on which examples come together, and on how many.
"""

import torch
from torch import Tensor, nn

from lit_gen.distributed import gather_over_ranks, rank
from lit_gen.errors import UserError


class MinibatchDiscrimination(nn.Module):
    """Appends to each example how near the batch is to it: o(x_i)_b = sum_j exp(-||M_ib - M_jb||_1), M_i = T f(x_i).

    Salimans et al., Improved Techniques for Training GANs (2016), Section 3.2, https://arxiv.org/abs/1606.03498
    As there the sum runs over the whole batch, the example itself included: it grows with the batch.

    Args:
        in_features: F, the length of f(x).
        num_kernels: numbers that are appended.
        kernel_dim: length of the vectors whose distance each of them measures.

    Raises:
        UserError: a number below 1.
    """

    def __init__(self, in_features: int, num_kernels: int = 50, kernel_dim: int = 5) -> None:
        super().__init__()
        if min(num_kernels, kernel_dim) < 1:
            raise UserError(
                f"MinibatchDiscrimination needs a num_kernels and a kernel_dim of at least 1, got {num_kernels} and "
                f"{kernel_dim}"
            )
        self.out_features = in_features + num_kernels
        self.kernel_dim = kernel_dim
        self.project = nn.Linear(in_features, num_kernels * kernel_dim, bias=False)  # T

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, F + num_kernels)."""
        own = self.project(features).unflatten(1, (-1, self.kernel_dim))  # (B, num_kernels, kernel_dim)
        joint = gather_over_ranks(own) if self.training else own
        distance = (own[:, None] - joint).abs().sum(3)  # (B, joint batch, num_kernels)
        return torch.cat([features, torch.exp(-distance).sum(1)], 1)


class MinibatchStandardDeviation(nn.Module):
    """Appends to each example one number: the standard deviation over its group, averaged over the features.

    Karras et al., Progressive Growing of GANs (2018), Section 3, https://arxiv.org/abs/1710.10196

    Args:
        in_features: F, the number of features.
        group_size: a batch falls into groups of so many consecutive examples, of which the last may be smaller; None
            makes the whole batch one group. The paper's code has 4. Over several processes the examples of a group are
            consecutive in rank order, so that other examples come together than in one process.

    Raises:
        UserError: a group of fewer than two.
    """

    def __init__(self, in_features: int, group_size: int | None = None) -> None:
        super().__init__()
        if group_size is not None and group_size < 2:
            raise UserError(f"MinibatchStandardDeviation needs a group_size of at least 2 or null, got {group_size}")
        self.out_features = in_features + 1
        self.group_size = group_size

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, F + 1)."""
        num = len(features)
        joint = gather_over_ranks(features) if self.training else features
        groups = joint.split(self.group_size or len(joint))
        # The summand keeps the root differentiable where a group's examples are equal.
        deviation = [(group.var(0, correction=0) + 1e-8).sqrt().mean().expand(len(group), 1) for group in groups]
        first = rank() * num if len(joint) > num else 0
        return torch.cat([features, torch.cat(deviation)[first : first + num]], 1)
