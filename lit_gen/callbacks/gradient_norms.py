"""How large each player's gradient is."""

import re
import weakref
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer


class GradientNorms(Callback):
    """Logs the Euclidean norm of each optimizer's gradient as ``train/gradient_norm_<player>``, on logged steps alone.

    It is that of the joint batch as the optimizer steps, unscaled, before any clipping. A player is called by the part
    of the model whose parameters the optimizer holds (``generator``, ``discriminator``), or by the model itself where
    they are of several parts (``vae``). A step is logged every ``log_every_n_steps`` batches; a player that doesn't
    step in such a batch has no new figure there, and one that steps several times has that of the last. Other steps
    cost the look at their number.

    Attributes:
        last: each player's last norm, as it was logged.
    """

    def __init__(self) -> None:
        self.last: dict[str, Tensor] = {}
        self._new: dict[str, Tensor] = {}
        self._players: weakref.WeakKeyDictionary[Optimizer, str] = weakref.WeakKeyDictionary()

    def state_dict(self) -> dict[str, Any]:
        """The last norms, which others may look at before a resumed run's first logged step."""
        return {"last": dict(self.last)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.last = dict(state_dict["last"])

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % trainer.log_every_n_steps:
            return
        player = self._players.get(optimizer)
        if player is None:
            player = self._players[optimizer] = player_of(optimizer, pl_module)
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            self._new[player] = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)).float())

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int) -> None:
        if self._new:
            pl_module.log_dict({f"train/gradient_norm_{player}": norm for player, norm in self._new.items()})
            self.last |= self._new
            self._new = {}


def player_of(optimizer: Optimizer, model: LightningModule) -> str:
    """The part of ``model`` that has all of the optimizer's parameters, else the model's own name, in snake_case."""
    names = {id(p): name for name, p in model.named_parameters()}
    parts = {names.get(id(p), "").partition(".")[0] for group in optimizer.param_groups for p in group["params"]}
    if len(parts) == 1 and isinstance(getattr(model, *parts, None), torch.nn.Module):
        return parts.pop()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(model).__name__).lower()
