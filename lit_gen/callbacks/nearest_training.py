"""Whether the model draws its training examples over again."""

from collections.abc import Iterator, Mapping
from itertools import islice

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from lit_gen.callbacks.pictures import image_grid, save_picture
from lit_gen.callbacks.real_examples import check_reference, examples_at, real_examples
from lit_gen.callbacks.sample_figures import SampleFigures
from lit_gen.distributed import world_size
from lit_gen.errors import UserError
from lit_gen.metrics.features.base import FeatureExtractor
from lit_gen.metrics.nearest_neighbours import Neighbours, nearest_neighbours

PART = 2**24
"""Numbers that training examples are compared by at a time: a search of many at once costs less than many searches."""


class NearestTraining(SampleFigures):
    """How near samples are to training examples, measured by how near held-out examples are, and a picture.

    Figure: ``nearest_training_ratio_<features>_<N>``, the median distance of N samples to their nearest training
    example divided by that of held-out examples (of the split that is evaluated): near 0 samples are copies, near 1 as
    new as held-out data are, far above 1 they aren't like the data at all. It compares the distances that Meehan,
    Chaudhuri & Dasgupta test, A Non-Parametric Test to Detect Data-Copying in Generative Models (2020),
    https://arxiv.org/abs/2004.05675. The features are the extractor's or ``data``.

    Of images a picture too, ``samples/nearest_training_<split>_<step>.png``: in each row a sample, then the training
    images nearest to it, nearest first.

    Args:
        num_samples: N, and at most as many held-out examples.
        extractor: turns images into features; None measures distances between the examples as they are.
        num_pictured: rows of the picture; 0 for no picture.
        num_neighbours: training images in a row.
        **kwargs: as in ``SampleFigures``.

    Raises:
        UserError: as ``SampleFigures``, and on other counts out of range; at setup, an extractor for what aren't
            images, or too few training examples; in measuring, samples that aren't finite.
    """

    def __init__(
        self,
        num_samples: int = 500,
        extractor: FeatureExtractor | None = None,
        num_pictured: int = 10,
        num_neighbours: int = 5,
        **kwargs,
    ) -> None:
        super().__init__(num_samples, **kwargs)
        for name, value, least in [("num_pictured", num_pictured, 0), ("num_neighbours", num_neighbours, 1)]:
            if value < least:
                raise UserError(f"NearestTraining needs {name} of at least {least}, got {value}.")
        self.extractor = extractor
        self.num_pictured = num_pictured
        self.num_neighbours = num_neighbours

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        check_reference(self, trainer, "train")
        shape, count = tuple(trainer.datamodule.event_shape), trainer.datamodule.num_examples("train")
        if self.extractor is not None and len(shape) != 3:
            raise UserError(
                f"NearestTraining's extractor takes images, but an example of these data has shape {shape}; "
                "'extractor: null' compares them as they are."
            )
        if self.num_neighbours > count:
            raise UserError(
                f"NearestTraining: num_neighbours {self.num_neighbours} is more than the {count} training examples."
            )

    def measure(self, trainer: Trainer, pl_module: LightningModule, split: str, count: str) -> Mapping[str, float]:
        """See the class."""
        samples = self.all_samples(trainer, pl_module)
        held_out = real_examples(trainer, split, self.num_samples, pl_module.device)
        found = self._search(trainer, torch.cat([self._features(samples), self._features(held_out)]))
        distance = found.distance[:, 0]
        of_samples, of_held_out = (float(part.median()) for part in distance.split([len(samples), len(held_out)]))
        space = "data" if self.extractor is None else self.extractor.name
        name = f"{split}/nearest_training_ratio_{space}_{count}"
        self.protocols[name] = (
            f"median distance to the nearest of {trainer.datamodule.num_examples('train')} training examples, "
            f"{of_samples:.4g} of {self.told_samples(trainer)}, over {of_held_out:.4g} of {len(held_out)} {split} "
            "examples"
        )
        self._picture(trainer, samples, found, split)
        return {name: of_samples / of_held_out if of_held_out > 0 else float("nan")}

    def _search(self, trainer: Trainer, queries: Tensor) -> Neighbours:
        """The nearest training examples of queries that all ranks have, by their numbers; each looks at its share."""
        count, device = self.num_neighbours, queries.device if queries.device.type != "mps" else torch.device("cpu")
        index = torch.zeros(len(queries), count, dtype=torch.int64, device=device)
        distance = torch.full((len(queries), count), torch.inf, dtype=torch.float64, device=device)
        best = Neighbours(index, distance)
        for index, x in self._training_parts(trainer, queries):
            near = nearest_neighbours(queries, x, min(count, len(x)))
            best = _nearer(best, Neighbours(index.to(device)[near.index.to(device)], near.distance), count)
        if world_size() > 1:
            parts = zip(*(gather_all_tensors(part.contiguous()) for part in best), strict=True)
            best, *others = (Neighbours(*part) for part in parts)
            for other in others:
                best = _nearer(best, other, count)
        return best

    def _training_parts(self, trainer: Trainer, queries: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's share of the training examples: numbers (P,) and features (P, D), ``PART`` numbers at a time."""
        index, parts = [], []
        loader = trainer.datamodule.reference_loader("train")
        for batch in islice(loader, int(trainer.fast_dev_run) or None):
            index.append(batch.index)
            parts.append(self._features(batch.x.to(queries.device)))
            if sum(part.numel() for part in parts) >= PART:
                yield torch.cat(index), torch.cat(parts)
                index, parts = [], []
        if parts:
            yield torch.cat(index), torch.cat(parts)

    def _features(self, x: Tensor) -> Tensor:
        if self.extractor is None:
            return x.flatten(1).float()
        self.extractor.to(x.device)
        return self.extractor(x)

    def _picture(self, trainer: Trainer, samples: Tensor, found: Neighbours, split: str) -> None:
        if samples.dim() != 4 or samples.shape[1] not in (1, 3) or not self.num_pictured:
            return
        samples = samples[: self.num_pictured]
        nearest = examples_at(trainer, "train", found.index[: len(samples)].flatten().to(samples.device))
        nearest = nearest.view(len(samples), self.num_neighbours, *samples.shape[1:])
        rows = torch.cat([samples[:, None], torch.ones_like(samples)[:, None], nearest], dim=1)  # a gap between
        if trainer.is_global_zero:
            space = "pixels" if self.extractor is None else f"features of {self.extractor.name}"
            columns = ["sample", "", *(f"{rank + 1}" for rank in range(self.num_neighbours))]
            title = f"samples, and the training images nearest to each by {space}\nnumbers above: 1 is the nearest"
            grid = image_grid(rows.flatten(0, 1), rows.shape[1], columns=columns)
            save_picture(trainer, f"nearest_training_{split}", grid, title)


def _nearer(a: Neighbours, b: Neighbours, count: int) -> Neighbours:
    """The ``count`` nearest of both, (Q, k) each; of equally near ones those of the lower numbers."""
    index, distance = (torch.cat(pair, dim=1) for pair in zip(a, b, strict=True))
    index, order = index.sort(dim=1)
    distance, nearest = distance.gather(1, order).sort(dim=1, stable=True)
    return Neighbours(index.gather(1, nearest)[:, :count], distance[:, :count])
