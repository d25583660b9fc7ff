"""The decoder's output bias set from the data before the first step."""

from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lit_gen.callbacks.held_out_figures import device_of_sums
from lit_gen.distributed import sum_over_ranks
from lit_gen.errors import UserError
from lit_gen.protocols import StartsAtMean


class StartAtMean(Callback):
    """Hands the training split's mean example to the model before the first step, once in a run.

    Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders (2016), https://arxiv.org/abs/1509.00519, start
    their decoders' output biases at the logit of the mean image. Images are taken before binarization.

    Raises:
        UserError: at setup, if the model cannot start there.
    """

    def __init__(self) -> None:
        self._done = False

    def state_dict(self) -> dict[str, Any]:
        """Whether it was done, so that a resumed run keeps what it has learned."""
        return {"done": self._done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self._done = bool(state_dict["done"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, StartsAtMean):
            raise UserError(
                f"StartAtMean needs a model with start_at_mean(mean), which a {type(pl_module).__name__} hasn't; take "
                "the callback out of the config."
            )
        if not hasattr(trainer.datamodule, "reference_loader"):
            raise UserError("StartAtMean needs a data module with a reference_loader to take the examples from.")

    @torch.no_grad()
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._done:
            return
        device = device_of_sums(pl_module)
        total, count = 0.0, 0
        # A fast_dev_run of n batches reads n of them.
        for batch in islice(trainer.datamodule.reference_loader("train"), int(trainer.fast_dev_run) or None):
            total, count = total + batch.x.to(device).double().sum(0), count + len(batch.x)
        total = sum_over_ranks(total)
        count = sum_over_ranks(torch.tensor(count, device=device))
        pl_module.start_at_mean((total / count).float().to(pl_module.device))
        self._done = True
