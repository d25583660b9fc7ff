"""What ``predict`` computed, as one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_gen.atomic_file import replacing
from lit_gen.distributed import rank, world_size
from lit_gen.errors import UserError


class PredictionWriter(Callback):
    """Writes ``<run>/predictions.npz``: ``index`` (N,), and every named array (N, ...) that ``predict_step`` returned.

    A ``predict_step`` returns a mapping or a named tuple of (B, ...) tensors, or one such tensor, which is then named
    ``prediction``. Rows are sorted by the examples' numbers in their split and gathered from all ranks; an example
    that came twice, as where a sampler pads the ranks' shares, is kept once.

    Raises:
        UserError: if what ``predict_step`` returns isn't of this form, or the arrays' names differ between batches.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, np.ndarray]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._parts = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if dataloader_idx > 0:
            raise UserError("PredictionWriter writes the predictions of one loader, but there are several.")
        arrays = {name: _array(value) for name, value in _named(outputs).items()}
        for name, array in arrays.items():
            if array.ndim == 0 or len(array) != len(batch.index):
                raise UserError(
                    f"predict_step returned '{name}' of shape {array.shape} for {len(batch.index)} examples: its "
                    "first dimension must count them."
                )
        part = {"index": _array(batch.index)} | arrays
        if self._parts and part.keys() != self._parts[0].keys():
            raise UserError(
                f"predict_step returned {sorted(arrays)} for a batch after others of "
                f"{sorted(self._parts[0].keys() - {'index'})}: every batch must return the same names."
            )
        self._parts.append(part)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts, self._parts = self._gathered(), []
        if rank() == 0 and parts:
            arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            index, order = np.unique(arrays["index"], return_index=True)
            arrays = {name: array[order] for name, array in arrays.items()} | {"index": index}
            with replacing(Path(trainer.default_root_dir) / "predictions.npz") as part, part.open("wb") as file:
                np.savez(file, **arrays)

    def _gathered(self) -> list[dict[str, np.ndarray]]:
        """On rank zero the parts of all ranks, on the others nothing."""
        if world_size() == 1:
            return self._parts
        everyone: list[Any] | None = [None] * world_size() if rank() == 0 else None
        dist.gather_object(self._parts, everyone)
        return [part for parts in everyone for part in parts] if everyone else []


def _named(outputs: Any) -> Mapping[str, Tensor]:
    if isinstance(outputs, Tensor):
        return {"prediction": outputs}
    named = outputs._asdict() if hasattr(outputs, "_asdict") else outputs
    if not isinstance(named, Mapping) or not named or not all(isinstance(value, Tensor) for value in named.values()):
        raise UserError(
            f"predict_step returned a {type(outputs).__name__}: it must return named (B, ...) tensors, as a mapping."
        )
    if "index" in named:
        raise UserError("predict_step must not name an array 'index': that is the examples' own numbers.")
    return named


def _array(x: Tensor) -> np.ndarray:
    x = x.detach().cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()
