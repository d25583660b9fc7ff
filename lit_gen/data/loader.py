"""Whole batches by index from tensors in memory: no per-image Python work, no worker processes.

In training the ranks share one stream of joint batches, so a run is the same at any number of devices; in evaluation
every example is handed out exactly once over all ranks, in an equal number of batches on each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.protocols import Batch
from lit_gen.randomness import make_generator

GATHERED_BYTES = 2**22
"""An epoch's examples that take up no more than this are put in order once rather than batch by batch."""


@dataclass(frozen=True)
class Examples:
    """A split of a data set, as rows of tensors that other splits may share.

    Attributes:
        x: (M, *event_shape), uint8 (handed out as x / 255) or float32 (handed out as it is).
        label: (M,) int64, or None.
        rows: (N,) int64, the split's rows of ``x`` in the split's order; None for all of them in order.
    """

    x: Tensor
    label: Tensor | None = None
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x) if self.rows is None else len(self.rows)


class Place(NamedTuple):
    """Where in a training stream a batch is, and whose share of it: all that its noise may depend on."""

    epoch: int
    batch: int
    rank: int
    world_size: int


class Transform(Protocol):
    """What is done to training examples as they are handed out, e.g. ``DynamicBinarization``."""

    def __call__(self, x: Tensor, place: Place) -> Tensor:
        """x: this rank's share of a joint batch, (B, *event_shape) float32, may be overwritten."""


class BatchLoader:
    """What both loaders share: the examples, this rank's place among the ranks, and the device to hand out on.

    Examples are handed out in torch's default type at the time that the loader is made: float32, but in a run of
    ``precision: 64-true``.

    Args:
        examples: where they lie decides where they are gathered; uint8 crosses to ``device`` as uint8.
        batch_size: see the subclasses.
        rank: this process's number in [0, world_size).
        world_size: number of processes that share the examples.
        device: where batches are handed out; None for where the examples lie.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"A batch size must be at least 1, got {batch_size}.")
        self.examples = examples
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.device = torch.device(device) if device is not None else examples.x.device
        self.dtype = torch.get_default_dtype()

    def __len__(self) -> int:
        """Number of batches, the same on every rank."""
        raise NotImplementedError

    def _take(self, index: Tensor, rows: Tensor) -> Batch:
        """The batch of the examples numbered ``index`` in the split, which are ``rows`` of the tensors."""
        label = self.examples.label
        return self._hand_out(
            self.examples.x.index_select(0, rows), None if label is None else label.index_select(0, rows), index
        )

    def _hand_out(self, x: Tensor, label: Tensor | None, index: Tensor) -> Batch:
        if x.device != self.device:
            x, index = x.to(self.device), index.to(self.device)
            label = None if label is None else label.to(self.device)
        if x.dtype == torch.uint8:
            # A division: multiplying by 1/255 misses float32's v / 255 for half of the grey values.
            x = x.to(self.dtype).div_(255)
        elif x.dtype != self.dtype and x.is_floating_point():
            x = x.to(self.dtype)
        return Batch(x, label, index)


class TrainingLoader(BatchLoader):
    """An endless shuffled stream, cut into epochs, that can be taken up again anywhere.

    ``batch_size`` is the total over all ranks: rank r holds examples r, r + W, … of each joint batch, and the joint
    batch of W ranks is exactly the batch of a single process. The last, partial batch of an epoch is dropped.

    The position is that of the next batch; it moves before a batch is handed out, because Lightning never asks for
    more than the last one and saves the position between two. An iterator hands out ``len(self)`` batches from
    wherever the position is when each is drawn; creating one changes nothing. So a pass cut short
    (``limit_train_batches``) is continued by the next, across the border of an epoch, rather than begun again.

    Args:
        seed: the run's seed; an epoch's order depends on it and the epoch's number alone.
        transform: done to each batch, given its place in the stream.

    Raises:
        UserError: ``batch_size`` isn't a multiple of ``world_size`` or is greater than the number of examples.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        seed: int = 0,
        transform: Transform | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(examples, batch_size, rank, world_size, device)
        if batch_size % world_size:
            above = -(-batch_size // world_size) * world_size
            raise UserError(
                f"batch_size is the total over all processes and must be a multiple of their number: "
                f"{batch_size} is not one of {world_size}; {above} would be."
            )
        if len(examples) < batch_size:
            raise UserError(f"batch_size {batch_size} is more than the {len(examples)} training examples there are.")
        self.seed = seed
        self.transform = transform
        self.epoch = 0
        self.batch = 0
        self._ordered_epoch = -1
        self._gathered: tuple[tuple[Tensor, ...], tuple[Tensor, ...] | None] | None = None

    def __len__(self) -> int:
        return len(self.examples) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(len(self)):
            place = Place(self.epoch, self.batch, self.rank, self.world_size)
            self.batch += 1
            if self.batch == len(self):
                self.epoch, self.batch = self.epoch + 1, 0
            yield self._draw(place)

    def _draw(self, place: Place) -> Batch:
        if place.epoch != self._ordered_epoch:
            self._order(place.epoch)
        at = place.batch
        if self._gathered is None:
            batch = self._take(self._index[at], self._rows[at])
        else:
            x, label = self._gathered
            batch = self._hand_out(x[at], None if label is None else label[at], self._index[at])
        return batch if self.transform is None else batch._replace(x=self.transform(batch.x, place))

    def _order(self, epoch: int) -> None:
        """Lay out this rank's share of an epoch, (batches, examples)."""
        order = torch.randperm(len(self.examples), generator=make_generator(self.seed, "shuffle", epoch))
        order = order[: len(self) * self.batch_size].view(len(self), self.batch_size)
        # Drawn on the CPU, so that the order is the same on every kind of device.
        index = order[:, self.rank :: self.world_size].contiguous().to(self.examples.x.device)
        rows = self.examples.rows
        self._index = index.unbind()
        rows = index if rows is None else rows[index]
        is_small = rows.numel() * self.examples.x[0].nbytes <= GATHERED_BYTES
        self._rows, self._gathered = ((), self._gather(rows)) if is_small else (rows.unbind(), None)
        self._ordered_epoch = epoch

    def _gather(self, rows: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...] | None]:
        """An epoch's batches of x and of labels, views of one tensor each: one by one small ones would be felt."""
        x, label = (
            None if part is None else part.index_select(0, rows.flatten()).unflatten(0, rows.shape).unbind()
            for part in (self.examples.x, self.examples.label)
        )
        return x, label

    def state_dict(self) -> dict[str, int]:
        """The position of the next batch, in joint batches: it holds at any number of processes."""
        return {"epoch": self.epoch, "batch": self.batch, "batch_size": self.batch_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a saved position.

        Raises:
            UserError: it is amid an epoch and the batch size or the data aren't what they were.
        """
        before = state.get("batch_size", self.batch_size)
        if state["batch"] and before != self.batch_size:
            raise UserError(
                f"Cannot go on amid an epoch of batches of {before} with batches of {self.batch_size}: "
                f"resume with data.batch_size={before}."
            )
        if not 0 <= state["batch"] < len(self):
            raise UserError(
                f"Cannot go on at batch {state['batch']} of an epoch that has {len(self)}: "
                "batch_size or the training data changed since the checkpoint."
            )
        self.epoch, self.batch = state["epoch"], state["batch"]
        self._ordered_epoch = -1  # a transform may have overwritten batches that are to come again


class EvaluationLoader(BatchLoader):
    """Every example exactly once over all ranks, in order, in as many batches on one rank as on any other.

    Equal counts let every rank enter each collective operation. ``batch_size`` is for each rank: the N examples are
    cut into rounds of nearly equal size, at most ``batch_size * world_size`` (more only if some rank would otherwise
    be left with nothing), and rank r holds examples r, r + W, … of each round.

    Raises:
        UserError: there are fewer examples than ranks.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(examples, batch_size, rank, world_size, device)
        if len(examples) < world_size:
            raise UserError(
                f"{len(examples)} examples cannot be shared among {world_size} processes: "
                "evaluate with fewer devices or more examples."
            )

    def __len__(self) -> int:
        count = len(self.examples)
        return max(1, min(-(-count // (self.batch_size * self.world_size)), count // self.world_size))

    def __iter__(self) -> Iterator[Batch]:
        count, rounds, rows = len(self.examples), len(self), self.examples.rows
        for number in range(rounds):
            start, stop = number * count // rounds, (number + 1) * count // rounds
            index = torch.arange(start + self.rank, stop, self.world_size, device=self.examples.x.device)
            yield self._take(index, index if rows is None else rows[index])
