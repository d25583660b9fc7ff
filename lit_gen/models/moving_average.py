"""Averages of weights over the steps of a training."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class ExponentialMovingAverage(AveragedModel):
    """A copy of a network that follows it: average <- decay * average + (1 - decay) * network, buffers included.

    torch's ``AveragedModel`` with its state dict, which finds the pairs of tensors once instead of at every update.
    Integers, such as batch norm's count of batches, are copied. The first update copies everything.

    Args:
        network: what is followed; its own weights are never touched.
        decay: in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay
        self._pairs: tuple[nn.Module, list[Tensor], list[Tensor], list[Tensor], list[Tensor]] | None = None
        self._begun = False
        self.requires_grad_(False)

    def _apply(self, *args: Any, **kwargs: Any) -> "ExponentialMovingAverage":
        self._pairs = None  # a move to another device makes new buffers
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._pairs = None  # and with it whether the average has begun
        super()._load_from_state_dict(*args, **kwargs)

    def _find_pairs(self, network: nn.Module) -> tuple:
        averages = [*self.module.parameters(), *self.module.buffers()]
        sources = [*network.parameters(), *network.buffers()]
        followed = [average.is_floating_point() for average in averages]
        split = [
            [tensor for tensor, follows in zip(tensors, followed, strict=True) if follows is wanted]
            for wanted in (True, False)
            for tensors in (averages, sources)
        ]
        return (network, *split)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Go one step after the network."""
        if self._pairs is None or self._pairs[0] is not model:
            self._pairs = self._find_pairs(model)
            self._begun = bool(self.n_averaged > 0)
        _, averages, sources, copies, originals = self._pairs
        if self._begun:
            torch._foreach_lerp_(averages, sources, 1.0 - self.decay)
        else:
            torch._foreach_copy_(averages, sources)
            self._begun = True
        if copies:
            torch._foreach_copy_(copies, originals)
        self.n_averaged.add_(1)  # += would look the buffer up three times to set it to itself
