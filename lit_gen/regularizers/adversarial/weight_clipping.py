"""A discriminator in a box."""

import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer


class WeightClipping(AdversarialRegularizer):
    """After each of the discriminator's steps every parameter is brought back into [-limit, limit].

    Arjovsky, Chintala & Bottou, Wasserstein GAN (2017), Algorithm 1, https://arxiv.org/abs/1701.07875

    Args:
        limit: c, 0.01 in the paper.

    Raises:
        UserError: the limit isn't positive.
    """

    changes_weights = True

    def __init__(self, limit: float = 0.01) -> None:
        super().__init__()
        if not limit > 0:
            raise UserError(f"WeightClipping's limit must be positive, got {limit}")
        self.limit = limit

    @torch.no_grad()
    def after_step(self, player: nn.Module) -> None:
        """Clip the player's parameters in place."""
        parameters = list(player.parameters())
        torch._foreach_clamp_min_(parameters, -self.limit)
        torch._foreach_clamp_max_(parameters, self.limit)
