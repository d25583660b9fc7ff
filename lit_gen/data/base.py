"""What every data module of examples in memory shares: splits, binarization, loaders, fingerprints."""

import hashlib
from dataclasses import replace
from typing import NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from lit_gen.data.binarization import DynamicBinarization, check_binarization, draw_once, threshold
from lit_gen.data.description import DataDescription, Notes, Range, SplitSize, handed_out, value_range
from lit_gen.data.labelled_subset import labelled_subset
from lit_gen.data.loader import EvaluationLoader, Examples, TrainingLoader
from lit_gen.errors import UserError, printable
from lit_gen.protocols import Batch
from lit_gen.randomness import make_generator, run_seed
from lit_gen.tensor import default_dtype

SPLITS = ("train", "val", "test")


class Part(NamedTuple):
    """Examples as they were read.

    Attributes:
        x: (N, *event_shape), uint8 (images, 0 to 255) or float32 (points; images in [0, 1]).
        label: (N,) int64 class indices from 0, or None.
        origin: what to call the source in a message: a file or a folder.
    """

    x: Tensor
    label: Tensor | None
    origin: str


class Arrays(NamedTuple):
    """What ``InMemoryData.read`` returns; validation examples are held out of ``train``."""

    train: Part
    test: Part


def rows_besides(held_out: Tensor, count: int) -> Tensor:
    """The others of ``count`` rows, ascending."""
    kept = torch.ones(count, dtype=torch.bool)
    kept[held_out] = False
    return kept.nonzero().squeeze(1)


def fits(tensor: Tensor, device: torch.device) -> bool:
    """Whether ``tensor`` should live on ``device`` for a whole run: it takes less than a quarter of what is free."""
    return device.type == "cuda" and tensor.nbytes < torch.cuda.mem_get_info(device)[0] / 4


class InMemoryData(LightningDataModule):
    """Base of the data modules: a subclass says how to ``read``, and no more.

    Works without a trainer too, as the only process, on the CPU. With one, examples lie on its device if they take
    less than a quarter of the free memory, otherwise on the CPU, and are handed out on the device either way.

    Args:
        event_shape: shape of one example.
        batch_size: training examples a step, the total over all processes.
        eval_batch_size: evaluation examples a step, in each process.
        num_validation: number of training examples held out for validation.
        split_seed: which ones; not the run's seed, so runs of different seeds are scored on the same examples.
        binarization: one of ``lit_gen.data.binarization.BINARIZATIONS``.
        binarization_seed: seed of every draw made once, and part of the seed of those made afresh.
        num_labels: keep only this many training examples, as many of each class; None for all. Validation and test
            stay whole.
        label_seed: which ones. The kept ones of a smaller number are among those of a greater one.

    Raises:
        UserError: an argument is out of its range. Reading raises it for whatever is wrong with the data.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        batch_size: int = 128,
        eval_batch_size: int = 500,
        num_validation: int = 0,
        split_seed: int = 0,
        binarization: str = "none",
        binarization_seed: int = 0,
        num_labels: int | None = None,
        label_seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_validation", num_validation, 0),
            ("num_labels", 1 if num_labels is None else num_labels, 1),
            ("every entry of the shape", min(event_shape, default=0), 1),
        ):
            if value < least:
                raise UserError(f"{type(self).__name__}: {name} must be at least {least}, got {value}.")
        self.event_shape = tuple(event_shape)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_validation = num_validation
        self.split_seed = split_seed
        self.binarization = check_binarization(binarization)
        self.binarization_seed = binarization_seed
        self.num_labels = num_labels
        self.label_seed = label_seed
        self._arrays: Arrays | None = None
        self._rows: dict[str, Tensor | None] = {}
        self._stored: dict[tuple, Tensor] = {}
        self._fingerprints: dict[str, str] = {}
        self._ranges: dict[str, Range] = {}
        self.notes = Notes()

    def read(self) -> Arrays:
        """Read the whole data set. Called once in each process, after ``prepare_data`` has run in the first."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Read and check the data and hold out the validation split; does nothing the second time."""
        if self._arrays is not None:
            return
        self.notes = Notes()  # a first process has read before, in ``prepare_data``
        with default_dtype(torch.float32):  # the data are the same in a run of another precision
            arrays = Arrays(*(self._checked(part) for part in self.read()))
        self._check_values(arrays)
        count = len(arrays.train.x)
        if self.num_validation >= count:
            raise UserError(
                f"num_validation {self.num_validation} leaves nothing to train on: "
                f"{arrays.train.origin} holds {count} examples."
            )
        held_out = self._validation_rows(count)
        train = rows_besides(held_out, count) if self.num_validation else None
        if self.num_labels is not None:
            label, origin = arrays.train.label, arrays.train.origin
            train = labelled_subset(label, train, self.num_labels, self.label_seed, origin)
        self._rows = {"train": train, "val": held_out, "test": None}
        self._arrays = arrays

    def _validation_rows(self, count: int) -> Tensor:
        """Which ``num_validation`` of the ``count`` examples read for training are held out, in the order they come in.

        Drawn by ``split_seed``; a subclass whose neighbours are alike (pictures of one person) says otherwise.
        """
        order = torch.randperm(count, generator=make_generator(self.split_seed, "validation split"))
        return order[: self.num_validation].sort().values

    def _fit(self, part: Part) -> Part:
        """``part`` in the shape it is handed out in: subclasses may resize."""
        return part

    def _check_values(self, arrays: Arrays) -> None:
        """Raise UserError if the values are in another unit than they are handed out in: subclasses may know."""

    def _checked(self, part: Part) -> Part:
        """``part`` in the shape it is handed out in, if it is sound.

        Raises:
            UserError: it is empty, not finite, of another shape, or its labels don't fit.
        """
        x, label, origin = part
        if len(x) == 0:
            raise UserError(f"{origin} holds no examples.")
        if x.is_floating_point() and not torch.isfinite(x.sum()):  # one pass; count only where something is wrong
            num_bad = x.numel() - int(torch.isfinite(x).sum())
            if num_bad:
                raise UserError(f"{origin} holds {num_bad} values that are NaN or infinite.")
        if label is not None and (label.shape != (len(x),) or int(label.min()) < 0):
            raise UserError(
                f"{origin} holds {len(x)} examples, which need as many labels, each 0 or more: there are "
                f"{list(label.shape)}, of which {int(label.min()) if label.numel() else 'none'} is the least."
            )
        part = self._fit(part)
        if tuple(part.x.shape[1:]) != self.event_shape:
            raise UserError(
                f"{origin} holds examples of shape {list(x.shape[1:])}, but {list(self.event_shape)} is asked for."
            )
        return part

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or None where examples have no labels."""
        self.setup()
        labels = [part.label for part in self._arrays if part.label is not None]
        return max(int(label.max()) for label in labels) + 1 if labels else None

    def num_examples(self, split: str) -> int:
        """Number of examples in ``split``: train, val or test."""
        return len(self._examples(split, "none", torch.device("cpu")))

    def description(self) -> DataDescription:
        """What the data are, for the screen and for summary.json.

        Costs one pass over examples that are no bytes; of bytes as many are looked at as show both 0 and 255.
        """
        self.setup()
        train, test = self._arrays
        ranges = [self._range(source) for source in ("train", "test")]
        values = Range(min(r.least for r in ranges), max(r.greatest for r in ranges))
        return DataDescription(
            module=type(self).__name__,
            origin=printable(train.origin),
            splits={split: self._size(split) for split in SPLITS},
            event_shape=self.event_shape,
            values=values,
            stored_as=" and ".join(dict.fromkeys(str(x.dtype).removeprefix("torch.") for x in (train.x, test.x))),
            binarization=self.binarization,
            passed_over=dict(self.notes.passed_over),
            remarks=[
                *self.notes.remarks,
                *(["all values of all examples are the same"] if values.least == values.greatest else []),
            ],
        )

    def _size(self, split: str) -> SplitSize:
        part, rows = getattr(self._arrays, "test" if split == "test" else "train"), self._rows[split]
        count = len(part.x) if rows is None else len(rows)
        if part.label is None:
            return SplitSize(count, None)
        return SplitSize(count, len((part.label if rows is None else part.label[rows]).unique()))

    def _range(self, source: str) -> Range:
        """Least and greatest value that is handed out of ``source``, train or test, grey."""
        if source not in self._ranges:
            x = getattr(self._arrays, source).x
            self._ranges[source] = handed_out(value_range(x), x.dtype)
        return self._ranges[source]

    def fingerprint(self, split: str) -> str:
        """Hex sha256 of the split's examples (not binarized), their order, shape and type."""
        if split not in self._fingerprints:
            examples = self._examples(split, "none", torch.device("cpu"))
            digest = hashlib.sha256(repr((len(examples), self.event_shape, str(examples.x.dtype))).encode())
            for rows in torch.arange(len(examples)).split(4096):
                taken = examples.x[rows if examples.rows is None else examples.rows[rows]]
                digest.update(taken.contiguous().numpy().tobytes())
            self._fingerprints[split] = digest.hexdigest()
        return self._fingerprints[split]

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled, endless, resumable; with ``overfit_batches=n`` an epoch is over the first n batches' examples."""
        dynamic = self.binarization == "dynamic"
        examples = self._examples("train", "none" if dynamic else self.binarization, self._device())
        overfit = getattr(self.trainer, "overfit_batches", 0)
        if overfit:
            if isinstance(overfit, float):
                overfit = max(1, int(overfit * (len(examples) // self.batch_size)))
            kept = torch.arange(min(overfit * self.batch_size, len(examples)), device=examples.x.device)
            examples = replace(examples, rows=kept if examples.rows is None else examples.rows[kept])
        return TrainingLoader(
            examples,
            self.batch_size,
            seed=run_seed(),
            transform=DynamicBinarization(self.binarization_seed, run_seed()) if dynamic else None,
            **self._share(),
        )

    def val_dataloader(self) -> EvaluationLoader | list:
        """The validation split, binarized; no loader at all if ``num_validation`` is 0."""
        return self._evaluation_loader("val", self.binarization) if self.num_validation else []

    def test_dataloader(self) -> EvaluationLoader:
        """The test split, binarized."""
        return self._evaluation_loader("test", self.binarization)

    def predict_dataloader(self) -> EvaluationLoader:
        """The same as ``test_dataloader``."""
        return self.test_dataloader()

    def reference_loader(self, split: str) -> EvaluationLoader:
        """What samples are compared with: this rank's share of ``split`` in order, pixels grey as they were read.

        Raises:
            UserError: the split is empty or unknown.
        """
        return self._evaluation_loader(split, "none")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches are handed out where they are needed: nothing to do, which is quicker than to look for tensors."""
        if isinstance(batch, Batch) and batch.x.device == device:
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _evaluation_loader(self, split: str, binarization: str) -> EvaluationLoader:
        examples = self._examples(split, binarization, self._device())
        if not len(examples):
            raise UserError(f"The {split} split is empty: set num_validation, which is {self.num_validation}.")
        return EvaluationLoader(examples, self.eval_batch_size, **self._share())

    def _device(self) -> torch.device:
        strategy = getattr(self.trainer, "strategy", None)
        return strategy.root_device if strategy is not None else torch.device("cpu")

    def _share(self) -> dict:
        """This process's part of every split, as the loaders' arguments."""
        return {
            "rank": self.trainer.global_rank if self.trainer is not None else 0,
            "world_size": self.trainer.world_size if self.trainer is not None else 1,
            "device": self._device(),
        }

    def _examples(self, split: str, binarization: str, device: torch.device) -> Examples:
        """A split, grey or with pixels drawn once, where it should lie for batches on ``device``."""
        if split not in SPLITS:
            raise UserError(f"There is no split {split!r}: it is one of {', '.join(SPLITS)}.")
        self.setup()
        source = "test" if split == "test" else "train"
        x = self._store(source, binarization, device)
        label, rows = getattr(self._arrays, source).label, self._rows[split]
        return Examples(x, *(None if value is None else value.to(x.device) for value in (label, rows)))

    def _store(self, source: str, binarization: str, device: torch.device) -> Tensor:
        """Examples of a source, kept for the next loader that asks.

        A drawn pixel depends on the source and the seed alone, not on the split or the device.
        """
        key = (source, binarization, device)
        if key not in self._stored:
            if device.type != "cpu":
                x = self._store(source, binarization, torch.device("cpu"))
                x = x.to(device) if fits(x, device) else x
            else:
                x = getattr(self._arrays, source).x
                if binarization == "threshold":
                    x = threshold(x)
                elif binarization in ("fixed", "dynamic"):
                    x = draw_once(x, self.binarization_seed, source)
            self._stored[key] = x
        return self._stored[key]
