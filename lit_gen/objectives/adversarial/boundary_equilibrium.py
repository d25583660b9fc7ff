"""The game that holds two energies in proportion."""

import torch
from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.objectives.adversarial.base import AdversarialObjective


class BoundaryEquilibrium(AdversarialObjective):
    """An autoencoding discriminator and a weight k that keeps E[E(G(z))] = gamma E[E(x)].

    Berthelot, Schumm & Metz, BEGAN: Boundary Equilibrium Generative Adversarial Networks (2017), Section 3.4,
    https://arxiv.org/abs/1703.10717

    Args:
        gamma: the proportion, in (0, 1]: the lower, the better and the less diverse the samples.
        learning_rate: lambda_k, by which k follows.
        k: its value at the start, in [0, 1]; 0 in the paper.

    Raises:
        UserError: a number out of range.
    """

    scores_are_energies = True

    def __init__(self, gamma: float = 0.5, learning_rate: float = 0.001, k: float = 0.0) -> None:
        super().__init__()
        if not 0 < gamma <= 1 or not learning_rate > 0 or not 0 <= k <= 1:
            raise UserError(
                f"BoundaryEquilibrium needs gamma in (0, 1], a positive learning_rate and k in [0, 1], got "
                f"{gamma}, {learning_rate} and {k}"
            )
        self.gamma = gamma
        self.learning_rate = learning_rate
        self.register_buffer("k", torch.tensor(float(k)))

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """E(x) - k E(G(z)) of each pair of energies. (B,)."""
        return real - self.k * fake

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """E(G(z)). (B,)."""
        return fake

    @torch.no_grad()
    def observe(self, *, real: Tensor, fake: Tensor) -> None:
        """k <- k + lambda_k (gamma E(x) - E(G(z))), kept in [0, 1]."""
        self.k.add_(self.learning_rate * (self.gamma * real - fake)).clamp_(0.0, 1.0)
