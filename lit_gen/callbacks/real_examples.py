"""Real examples of a split to hold samples against, the same on every rank."""

from itertools import islice

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from lit_gen.distributed import sum_over_ranks, world_size
from lit_gen.errors import UserError

SPLITS = ("train", "val", "test")


def check_reference(callback: Callback, trainer: Trainer, split: str | None = None) -> None:
    """Refuse data that can't be read split by split, or that have nothing in ``split``.

    Raises:
        UserError: says what the callback misses.
    """
    data = trainer.datamodule
    called = type(callback).__name__
    if not (hasattr(data, "reference_loader") and hasattr(data, "num_examples")):
        raise UserError(f"{called} needs a data module with a reference_loader and num_examples to take examples from.")
    if split is not None and data.num_examples(split) < 1:
        raise UserError(f"{called} takes examples from the {split} split, which is empty: set data.num_validation.")


def real_examples(trainer: Trainer, split: str, max_examples: int, device: torch.device) -> Tensor:
    """(N, *event_shape) examples of a split, evenly spaced over it and in its order, not binarized.

    N is ``max_examples`` or the whole of a smaller split; a fast_dev_run of n batches reads n of them. Every rank gets
    all of them and must ask.
    """
    data: LightningDataModule = trainer.datamodule
    total = data.num_examples(split)
    wanted = min(max_examples, total)
    x, index = [], []
    for batch in islice(data.reference_loader(split), int(trainer.fast_dev_run) or None):
        # One of each of ``wanted`` stretches of equal length, whichever rank holds it.
        chosen = (batch.index + 1) * wanted // total > batch.index * wanted // total
        # On some rank none may be left, but its tensors keep their shapes.
        x.append(batch.x[chosen].to(device))
        index.append(batch.index[chosen].to(device))
    return in_order(torch.cat(x), torch.cat(index))


def held_out_or_train(trainer: Trainer) -> str:
    """The validation split where there is one, else the training split."""
    return "val" if trainer.datamodule.num_examples("val") else "train"


def examples_at(trainer: Trainer, split: str, index: Tensor) -> Tensor:
    """(N,) numbers of a split's examples -> (N, *event_shape), not binarized. Every rank gets all and must ask."""
    data = trainer.datamodule
    found = torch.zeros(len(index), *data.event_shape, device=index.device)
    for batch in data.reference_loader(split):
        row, column = (index[:, None] == batch.index.to(index.device)).nonzero(as_tuple=True)
        found[row] = batch.x.to(index.device)[column]
    return sum_over_ranks(found)  # each is one rank's, and 0 of the others


def in_order(x: Tensor, index: Tensor) -> Tensor:
    """(N_r, ...) of this rank with their numbers (N_r,) -> all ranks' in the order of their numbers."""
    if world_size() > 1:
        x, index = (torch.cat(gather_all_tensors(part.contiguous())) for part in (x, index))
    return x[index.argsort()]
