"""Few labels: a training split cut down to so many examples of each class."""

import torch
from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.randomness import make_generator


def labelled_subset(label: Tensor | None, rows: Tensor | None, num_labels: int, seed: int, origin: str) -> Tensor:
    """``num_labels`` of a split's rows, as many of each class (one more of some where it doesn't divide), ascending.

    The rows of a smaller number are among those of a greater one with the same seed.

    Args:
        label: (M,) class indices, or None.
        rows: (N,) the split's rows of ``label``; None for all.
        num_labels: how many to keep.
        seed: which ones.
        origin: what to call the data in a message.

    Raises:
        UserError: the data have no labels, more classes than ``num_labels``, or too few examples of a class.
    """
    if label is None:
        raise UserError(f"num_labels {num_labels} asks for labelled examples, but {origin} has no labels.")
    rows = torch.arange(len(label)) if rows is None else rows
    classes = label[rows].unique().tolist()
    if num_labels < len(classes):
        raise UserError(f"num_labels {num_labels} is fewer than the {len(classes)} classes of {origin}.")
    extra = torch.randperm(len(classes), generator=make_generator(seed, "few labels"))[: num_labels % len(classes)]
    kept = []
    for number, name in enumerate(classes):
        share = num_labels // len(classes) + int(number in extra)
        members = rows[label[rows] == name]
        if share > len(members):
            raise UserError(
                f"num_labels {num_labels} asks for {share} examples of class {name}, of which {origin} has "
                f"{len(members)} to train on."
            )
        kept.append(members[torch.randperm(len(members), generator=make_generator(seed, "few labels", name))[:share]])
    return torch.cat(kept).sort().values
