"""Vector quantization with a codebook that follows the encodings.

van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning (2017), Section 3 and Appendix A.1,
https://arxiv.org/abs/1711.00937
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lit_gen.distributed import rank, sum_over_ranks, world_size
from lit_gen.errors import UserError

FORGOTTEN = 1e-20
"""Moving average of choices below which a code's position is no longer read off its averages."""


class Quantized(NamedTuple):
    """What became of a batch of encodings.

    Attributes:
        codes: (B, D, *positions), each encoding's nearest code; its gradient is handed on to the encoding as it is.
        index: (B, *positions), the codes' numbers, int64.
        squared_error: (B,), |encoding - code|^2 summed over positions; its gradient reaches the encodings alone.
    """

    codes: Tensor
    index: Tensor
    squared_error: Tensor


class VectorQuantizer(nn.Module):
    """Replaces each encoding by the nearest of ``num_codes`` codes.

    In training mode, and only there, the codebook moves (Appendix A.1): each code is the ratio of two
    moving averages, of the sum of the encodings that chose it and of their number, over the joint batch of all ranks.
    A code that is hardly chosen any more is restarted at an encoding drawn from the batch before it chooses, in the
    manner of Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341). At the first batch that
    holds for all of them, so that the codebook begins among the encodings.

    Args:
        num_codes: K.
        dim: D, length of a code.
        decay: of the moving averages, in [0, 1).
        restart_below: a code whose moving average of choices in a (joint) batch is below this is restarted; 0 for
            never, also not at the first batch.

    Raises:
        UserError: a number out of range.
    """

    def __init__(self, num_codes: int, dim: int, decay: float = 0.99, restart_below: float = 0.1) -> None:
        super().__init__()
        if min(num_codes, dim) < 1:
            raise UserError(f"a VectorQuantizer's num_codes and dim must be at least 1, got {num_codes} and {dim}")
        if not 0.0 <= decay < 1.0:
            raise UserError(f"a VectorQuantizer's decay must be in [0, 1), got {decay}")
        if not 0.0 <= restart_below < 1.0:  # a code begins with one choice
            raise UserError(f"a VectorQuantizer's restart_below must be in [0, 1), got {restart_below}")
        self.num_codes = num_codes
        self.dim = dim
        self.decay = decay
        self.restart_below = restart_below
        self.register_buffer("codebook", torch.randn(num_codes, dim))
        self.register_buffer("choices", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, dim))

    def forward(self, z: Tensor) -> Quantized:
        """(B, D, *positions) -> codes of the same shape."""
        channels_last = z.movedim(1, -1).to(self.codebook.dtype)
        vectors = channels_last.flatten(0, -2)  # (B * positions, D)
        if self.training:
            self._restart(vectors.detach())
        index = self.nearest(vectors.detach())
        chosen = self.codebook[index]
        if self.training:
            self._follow(vectors.detach(), index)
        squared_error = (vectors - chosen).square().sum(1).view(len(z), -1).sum(1)
        straight_through = vectors + (chosen - vectors).detach()
        codes = straight_through.view_as(channels_last).movedim(-1, 1)
        return Quantized(codes, index.view(channels_last.shape[:-1]), squared_error)

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        """(N, D) -> (N,), the number of the code at the least Euclidean distance.

        Of codes whose squared distances differ by less than about eps times the codebook's squared extent it may be
        another one than the nearest.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            # Distances don't change under a shift, and about the codebook's mean the expanded square loses least.
            centre = self.codebook.mean(0)
            codes = self.codebook - centre
            # |v - e|^2 but for |v|^2, which is the same for all codes.
            return torch.addmm(codes.square().sum(1), vectors - centre, codes.T, alpha=-2.0).argmin(1)

    def look_up(self, index: Tensor) -> Tensor:
        """(B, *positions) numbers of codes -> the codes, (B, D, *positions)."""
        return self.codebook[index].movedim(-1, 1)

    @torch.no_grad()
    def _follow(self, vectors: Tensor, index: Tensor) -> None:
        chosen_by = torch.zeros_like(self.sums).index_add_(0, index, vectors)
        count = torch.bincount(index, minlength=self.num_codes).to(vectors.dtype)
        joint = sum_over_ranks(torch.cat([chosen_by, count.unsqueeze(1)], 1))
        self.sums.lerp_(joint[:, :-1], 1.0 - self.decay)
        self.choices.lerp_(joint[:, -1], 1.0 - self.decay)
        # A code that nobody has chosen, or for so long that both averages underflow, stays where it is.
        mean = self.sums / self.choices.clamp_min(FORGOTTEN).unsqueeze(1)
        self.codebook.copy_(torch.where(self.choices.unsqueeze(1) > FORGOTTEN, mean, self.codebook))

    @torch.no_grad()
    def _restart(self, vectors: Tensor) -> None:
        dead = self.choices < self.restart_below
        if not dead.any():  # the same on all ranks, which hold one codebook
            return
        numbers = torch.arange(self.num_codes, device=vectors.device)
        drawn = vectors[torch.randint(len(vectors), (self.num_codes,), device=vectors.device)]
        # Each rank draws for its share of the codes, from its own encodings.
        drawn = sum_over_ranks(drawn * (numbers % world_size() == rank()).unsqueeze(1))
        self.codebook.copy_(torch.where(dead.unsqueeze(1), drawn, self.codebook))
        self.sums.copy_(torch.where(dead.unsqueeze(1), drawn, self.sums))
        self.choices.masked_fill_(dead, 1.0)


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of the shares of counts (K,): the number of equally chosen codes that would be as many."""
    share = counts / counts.sum()
    return torch.special.entr(share).sum().exp()
