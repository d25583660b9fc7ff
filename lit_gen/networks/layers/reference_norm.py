"""Norms by the moments of a fixed reference batch, under which an example's output doesn't depend on its companions.

Both want a ``lit_gen.networks.ReferenceBatch`` around their network, which puts the reference batch in front of every
batch: the first rows are the reference's, which are normalized by their own moments.

Salimans et al., Improved Techniques for Training GANs (2016), Section 3.4, https://arxiv.org/abs/1606.03498;
Goodfellow, NIPS 2016 Tutorial: Generative Adversarial Networks, Section 4.3, https://arxiv.org/abs/1701.00160
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.tensor import at_least_single


class _Moments(NamedTuple):
    """Per channel: (1, C) of the reference, or (B, C), an example each; biased variances."""

    mean: Tensor
    variance: Tensor


class ReferenceNorm(nn.Module):
    """What the two norms share; a subclass says whose moments the examples behind the reference are normalized by.

    It is the same in training and in evaluation, and keeps no statistics.

    Args:
        num_features: number of channels.
        eps: added to variances.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.num_reference: int | None = None  # rows of the reference; ReferenceBatch tells

    def forward(self, x: Tensor) -> Tensor:
        """(num_reference + B, C) or (num_reference + B, C, H, W) -> the same shape."""
        if self.num_reference is None:
            raise UserError(
                f"{type(self).__name__} needs a lit_gen.networks.ReferenceBatch around its network, and a place before "
                f"the network's features"
            )
        full = at_least_single(x)
        full = full.unsqueeze(2) if x.dim() == 2 else full.flatten(2)  # (num_reference + B, C, positions)
        reference, rest = full[: self.num_reference], full[self.num_reference :]
        variance, mean = torch.var_mean(reference, (0, 2), correction=0)
        moments = _Moments(mean[None], variance[None])
        y = torch.cat([self._normalize(reference, moments), self._normalize(rest, self.moments(rest, moments))])
        return y.view(x.shape).to(x.dtype)

    def _normalize(self, x: Tensor, moments: _Moments) -> Tensor:
        scale = torch.rsqrt(moments.variance + self.eps) * self.weight
        return (x - moments.mean[..., None]) * scale[..., None] + self.bias[:, None]

    def moments(self, x: Tensor, reference: _Moments) -> _Moments:
        """Examples (B, C, positions) and the reference's moments -> what to normalize the examples by."""
        raise NotImplementedError


class ReferenceBatchNorm(ReferenceNorm):
    """Batch normalization by the moments of the reference batch alone: (R + B, C, ...) -> the same shape."""

    def moments(self, x: Tensor, reference: _Moments) -> _Moments:
        """The reference's."""
        return reference


class VirtualBatchNorm(ReferenceNorm):
    """Batch normalization of each example by the moments of the batch of the reference and itself.

    (R + B, C, ...) -> the same shape.
    """

    def moments(self, x: Tensor, reference: _Moments) -> _Moments:
        """Of R + 1 examples, the variance from those of the two parts, which is exact in single precision too."""
        share = 1.0 / (self.num_reference + 1)
        variance, mean = torch.var_mean(x, 2, correction=0)  # (B, C)
        together = torch.lerp(reference.mean, mean, share)
        spread = torch.lerp(
            reference.variance + (reference.mean - together).square(), variance + (mean - together).square(), share
        )
        return _Moments(together, spread)
