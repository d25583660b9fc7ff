"""Penalties that leave most of a code near 0."""

import torch
from torch import Tensor, nn

from lit_gen.distributed import sum_over_ranks, world_size
from lit_gen.errors import UserError


def _joint_mean(code: Tensor) -> Tensor:
    """(B, Z) -> (Z,): the mean over the joint batch of all ranks, equal shares assumed.

    Its gradient is that of this rank's own mean. Averaged over the ranks, as training does with gradients, that makes
    the gradient of the joint mean, and no collective has to be differentiated.
    """
    mean = code.mean(0)
    if world_size() == 1:
        return mean
    own = mean.detach()
    return mean + (sum_over_ranks(own.clone()) / world_size() - own)


class KLSparsity(nn.Module):
    """weight * sum_j KL(target || mean activation of unit j), of Bernoulli variables, in nats.

    Ng, Sparse autoencoder (CS294A lecture notes, 2011), Section 3, https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf;
    the aim of a mean activation is that of Lee, Ekanadham & Ng, Sparse deep belief net model for visual area V2 (2008),
    https://papers.nips.cc/paper/3313. Means are over the joint batch of all processes, so take batches of hundreds.

    Args:
        target: the mean activation that costs nothing, in (0, 1).
        weight: 0 or more.

    Raises:
        UserError: an argument out of its range; codes outside [0, 1] (looked for on a CPU at every call, and at setup).
    """

    name = "kl_sparsity"

    def __init__(self, target: float = 0.05, weight: float = 1.0) -> None:
        super().__init__()
        if not 0.0 < target < 1.0:
            raise UserError(f"KLSparsity needs a target in (0, 1), got {target}")
        if not weight >= 0.0:
            raise UserError(f"KLSparsity needs a weight of 0 or more, got {weight}")
        self.target = target
        self.weight = weight

    def forward(self, encoder: nn.Module, x: Tensor, code: Tensor) -> Tensor:
        """Codes in (0, 1), (B, Z) -> a scalar: it belongs to the batch."""
        if code.device.type == "cpu" or not torch.is_grad_enabled():
            low, high = (value.item() for value in torch.aminmax(code.detach()))
            if low < 0.0 or high > 1.0:  # NaN passes: that is no wrong kind of code but a run that diverged
                raise UserError(
                    f"KLSparsity needs codes in [0, 1], but there are values from {low:.4g} to {high:.4g}: give the "
                    "encoder a torch.nn.Sigmoid as output_activation, or use L1Sparsity"
                )
        # Where every code of a unit rounds to 0 or 1 the divergence stays finite.
        mean = _joint_mean(code).clamp(1e-6, 1.0 - 1e-6)
        target = torch.as_tensor(self.target, dtype=mean.dtype, device=mean.device)
        divergence = target * (target / mean).log() + (1 - target) * ((1 - target) / (1 - mean)).log()
        return self.weight * divergence.sum()


class L1Sparsity(nn.Module):
    """weight * sum_j |h_j| of each example's code h.

    Args:
        weight: 0 or more.

    Raises:
        UserError: a negative weight.
    """

    name = "l1_sparsity"

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight >= 0.0:
            raise UserError(f"L1Sparsity needs a weight of 0 or more, got {weight}")
        self.weight = weight

    def forward(self, encoder: nn.Module, x: Tensor, code: Tensor) -> Tensor:
        """(B, Z) -> (B,)."""
        return self.weight * code.flatten(1).abs().sum(1)
