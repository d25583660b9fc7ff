"""Players that don't go in circles."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from lit_gen.protocols import Game
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer, Player


class HistoricalAveraging(AdversarialRegularizer):
    """|theta - mean of theta over all steps so far|^2 for one player's parameters theta.

    Salimans et al., Improved Techniques for Training GANs (2016), Section 3.3, https://arxiv.org/abs/1606.03498

    Args:
        player: whose.
        weight: of the term.
        every_n_steps: see ``AdversarialRegularizer``; the mean is over every step.
    """

    def __init__(self, player: Player, weight: float | Callable[[int], float] = 1.0, every_n_steps: int = 1) -> None:
        super().__init__(weight, every_n_steps)
        self.player = player
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    def join(self, generator: nn.Module, discriminator: nn.Module) -> None:
        """Begin the mean at the player's first weights."""
        for number, parameter in enumerate(self._own_of(generator, discriminator)):
            self.register_buffer(f"mean_{number}", parameter.detach().clone())

    def _own_of(self, generator: nn.Module, discriminator: nn.Module) -> list[nn.Parameter]:
        return list((generator if self.player == "generator" else discriminator).parameters())

    def _means(self) -> list[Tensor]:
        return [cast(Tensor, buffer) for name, buffer in self.named_buffers() if name.startswith("mean_")]

    def forward(self, game: Game) -> Tensor:
        """(), in squared units of a weight."""
        parameters = self._own_of(game.generator, game.discriminator)
        return torch.stack(
            [(own - mean).square().sum() for own, mean in zip(parameters, self._means(), strict=True)]
        ).sum()

    @torch.no_grad()
    def after_step(self, player: nn.Module) -> None:
        """Take the player's new weights into the mean: the first weights are its first of all."""
        self.num_steps += 1
        means = self._means()
        moves = torch._foreach_sub(list(player.parameters()), means)
        torch._foreach_div_(moves, self.num_steps + 1)  # a tensor: a number would wait for the device
        torch._foreach_add_(means, moves)
