"""The first examples of a pass over the validation split, as the model sees them."""

import torch
from torch import Tensor

from lit_gen.protocols import Batch


class FirstExamples:
    """Keeps the first ``num_examples`` of the batches it is shown.

    Taking them from the pass that Lightning makes anyway reads nothing twice and gives them as the model sees them,
    binarized where the data are. On several ranks these are the first examples of the rank's own share.
    """

    def __init__(self, num_examples: int) -> None:
        self.num_examples = num_examples
        self._x: list[Tensor] = []
        self._label: list[Tensor] = []
        self._count = 0

    def clear(self) -> None:
        """Begin anew."""
        self._x, self._label, self._count = [], [], 0

    def add(self, batch: Batch) -> None:
        """Look at the next batch."""
        missing = self.num_examples - self._count
        if missing <= 0:
            return
        # Clones: the rest of the batch shouldn't stay in memory, and a loader may write into its batches again.
        self._x.append(batch.x[:missing].detach().clone())
        if batch.label is not None:
            self._label.append(batch.label[:missing].clone())
        self._count += len(self._x[-1])

    def __len__(self) -> int:
        return self._count

    @property
    def x(self) -> Tensor:
        """(N, *event_shape), N at most ``num_examples``."""
        return torch.cat(self._x)

    @property
    def label(self) -> Tensor | None:
        """(N,) class indices, or None where the data have none."""
        return torch.cat(self._label) if self._label else None
