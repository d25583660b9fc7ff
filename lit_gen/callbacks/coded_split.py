"""A split of the data with the model's codes: what pictures and figures of codes are made of."""

from itertools import islice
from typing import NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.distributed import world_size
from lit_gen.errors import UserError
from lit_gen.protocols import Codes
from lit_gen.randomness import derive_seed, seeded


class CodedSplit(NamedTuple):
    """Examples of a split in order, and their codes.

    Attributes:
        code: (N, Z).
        x: (N, *event_shape) the examples, not binarized; None where they weren't asked for.
        label: (N,) int64, or None where the data have none.
        index: (N,) int64 numbers in the split, ascending.
    """

    code: Tensor
    x: Tensor | None
    label: Tensor | None
    index: Tensor

    def over_ranks(self) -> "CodedSplit":
        """The examples of all ranks, in order, on each of them."""
        if world_size() == 1:
            return self
        parts = [None if part is None else torch.cat(gather_all_tensors(part.contiguous())) for part in self]
        order = parts[-1].argsort()
        return CodedSplit(*(None if part is None else part[order] for part in parts))


def coded_split(
    trainer: Trainer, model: LightningModule, split: str, max_examples: int | None = None, keep_x: bool = True
) -> CodedSplit:
    """This rank's share of a split (``reference_loader``) with its codes, the model in evaluation mode.

    Args:
        trainer: its data module is read; a fast_dev_run of n batches reads n of them.
        model: a model with ``encode``.
        split: train, val or test.
        max_examples: of a longer split as many examples are taken over all ranks, evenly spaced.
        keep_x: keep the examples beside their codes.
    """
    data, device = trainer.datamodule, model.device
    total = data.num_examples(split)
    wanted = total if max_examples is None else min(max_examples, total)
    parts: list[CodedSplit] = []
    with eval_mode(model), seeded(derive_seed("codes"), device):
        for batch in islice(data.reference_loader(split), int(trainer.fast_dev_run) or None):
            if wanted < total:
                # One of each of ``wanted`` stretches of equal length, whichever rank holds it.
                chosen = (batch.index + 1) * wanted // total > batch.index * wanted // total
                batch = type(batch)(*(None if part is None else part[chosen] for part in batch))
            # On some rank none may be left, but its tensors keep their shapes.
            code = model.encode(batch.x.to(device))
            parts.append(CodedSplit(code, batch.x if keep_x else None, batch.label, batch.index))
    columns = zip(*parts, strict=True)
    return CodedSplit(*(None if column[0] is None else torch.cat(column).to(device) for column in columns))


def check_codes(callback: str, trainer: Trainer, model: LightningModule) -> None:
    """Refuse a model without codes and data that can't be read split by split.

    Raises:
        UserError: says what ``callback`` misses.
    """
    if not isinstance(model, Codes):
        raise UserError(
            f"{callback} needs a model with encode(x) and decode(z), which a {type(model).__name__} hasn't; "
            "take the callback out of the config."
        )
    if not hasattr(trainer.datamodule, "reference_loader"):
        raise UserError(f"{callback} needs a data module with a reference_loader to take the examples from.")
