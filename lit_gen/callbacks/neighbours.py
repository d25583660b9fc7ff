"""What lies near a code: classification by nearest neighbours, and retrieval."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.class_grid import class_labels
from lit_gen.callbacks.coded_split import CodedSplit, check_codes, coded_split
from lit_gen.callbacks.intervals import due_or_asked_for
from lit_gen.callbacks.pictures import image_grid, save_picture
from lit_gen.distributed import sum_over_ranks
from lit_gen.errors import UserError
from lit_gen.metrics.nearest_neighbours import DISTANCES, Neighbours, majority, nearest_neighbours, precision


class Search(NamedTuple):
    """The neighbours of this rank's queries among the reference examples of all ranks.

    Attributes:
        queries: this rank's share of the validation or test split.
        reference: the training split.
        by_code: nearest in the space of codes.
        by_data: nearest in the space of the data.
    """

    queries: CodedSplit
    reference: CodedSplit
    by_code: Neighbours
    by_data: Neighbours


class NeighbourFigure(Callback):
    """Base of figures about the nearest training examples of each test example, by code and, beside it, by the data.

    Measured on the test split, and on the validation split where ``every_n_epochs`` says so. The codes are those of
    examples that aren't binarized. Every query counts once at any number of processes.

    Args:
        num_neighbours: k.
        distance: of codes, "euclidean" or "cosine".
        data_distance: of the data themselves; None for the same.
        num_reference: of more training examples as many are taken, evenly spaced; None for all.
        num_queries: likewise of the queries.
        every_n_epochs: also measures at the validation of every n-th epoch; 0 only at the test (and at ``validate``).

    Raises:
        UserError: on a count or distance out of range; at setup, more neighbours than reference examples, data without
            labels, or a model without codes.
    """

    def __init__(
        self,
        num_neighbours: int,
        distance: str = "euclidean",
        data_distance: str | None = None,
        num_reference: int | None = None,
        num_queries: int | None = None,
        every_n_epochs: int = 0,
    ) -> None:
        self.name = type(self).__name__
        for name, value, least in [
            ("num_neighbours", num_neighbours, 1),
            ("num_reference", num_reference, 1),
            ("num_queries", num_queries, 1),
            ("every_n_epochs", every_n_epochs, 0),
        ]:
            if value is not None and value < least:
                raise UserError(f"{self.name} needs {name} of at least {least}, got {value}.")
        for name, value in [("distance", distance), ("data_distance", data_distance or distance)]:
            if value not in DISTANCES:
                raise UserError(f"{self.name}: {name} is one of {', '.join(DISTANCES)}, not {value!r}.")
        self.num_neighbours = num_neighbours
        self.distance = distance
        self.data_distance = data_distance or distance
        self.num_reference = num_reference
        self.num_queries = num_queries
        self.every_n_epochs = every_n_epochs
        self.protocols: dict[str, str] = {}
        """The line that states how each logged figure was measured, by the figure's name."""

    def figure(self, images: bool) -> tuple[str, str]:
        """The figures' names by code and by the data, without the split."""
        raise NotImplementedError

    def score(self, labels: Tensor, wanted: Tensor, num_classes: int) -> Tensor:
        """(Q, k) labels of the neighbours, (Q,) those of the queries -> (Q,) values to take the mean of."""
        raise NotImplementedError

    def finish(self, trainer: Trainer, split: str, search: Search) -> None:
        """What else to do with the neighbours."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_codes(self.name, trainer, pl_module)
        data = trainer.datamodule
        if data.num_classes is None:
            raise UserError(f"{self.name} compares labels, which these data haven't; take it out of the config.")
        count = min(data.num_examples("train"), self.num_reference or data.num_examples("train"))
        if self.num_neighbours > count:
            raise UserError(
                f"{self.name}: num_neighbours {self.num_neighbours} is more than the {count} training examples to "
                "find neighbours among."
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if due_or_asked_for(trainer, self.every_n_epochs):
            self._measure(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure(trainer, pl_module, "test")

    def _measure(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        search = self._search(trainer, pl_module, split)
        data, queries = trainer.datamodule, search.queries
        names = self.figure(images=len(data.event_shape) == 3)
        for name, found, distance in [
            (names[0], search.by_code, self.distance),
            (names[1], search.by_data, self.data_distance),
        ]:
            values = self.score(search.reference.label[found.index], queries.label, data.num_classes)
            total = torch.tensor([float(values.sum()), len(values)], dtype=torch.float64)
            total = sum_over_ranks(total.to(pl_module.device if pl_module.device.type != "mps" else "cpu"))
            name = f"{split}/{name}"
            # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
            pl_module.log(name, float(total[0] / total[1]), sync_dist=True, batch_size=1)
            dimension = (queries.code if found is search.by_code else queries.x[:, None].flatten(1)).shape[1]
            self.protocols[name] = (
                f"{self.num_neighbours} nearest of {len(search.reference.label)} training examples, {distance} "
                f"distance in {dimension} dimensions; {int(total[1])} {split} examples; not binarized"
            )
        self.finish(trainer, split, search)

    def _search(self, trainer: Trainer, pl_module: LightningModule, split: str) -> Search:
        reference = coded_split(trainer, pl_module, "train", self.num_reference).over_ranks()
        queries = coded_split(trainer, pl_module, split, self.num_queries)
        spaces = [
            (queries.code, reference.code, self.distance),
            (queries.x.flatten(1), reference.x.flatten(1), self.data_distance),
        ]
        found = [nearest_neighbours(a, b, self.num_neighbours, distance) for a, b, distance in spaces]
        return Search(queries, reference, *found)


class KNNAccuracy(NeighbourFigure):
    """Share of test examples whose label is that of most of their nearest training examples.

    Figures: ``knn_accuracy_k<k>_code``, ``knn_accuracy_k<k>_data``. See ``majority`` for ties.

    Args:
        num_neighbours: k.
        **kwargs: as in ``NeighbourFigure``.
    """

    def __init__(self, num_neighbours: int = 15, **kwargs) -> None:
        super().__init__(num_neighbours, **kwargs)

    def figure(self, images: bool) -> tuple[str, str]:
        """See the class."""
        return f"knn_accuracy_k{self.num_neighbours}_code", f"knn_accuracy_k{self.num_neighbours}_data"

    def score(self, labels: Tensor, wanted: Tensor, num_classes: int) -> Tensor:
        """(Q,) 1 for a hit, 0 for a miss."""
        return (majority(labels, num_classes) == wanted).double()


class Retrieval(NeighbourFigure):
    """Mean share of the k nearest training examples that have the test example's label.

    Retrieval by code: Hinton & Salakhutdinov (2006), Fig. 4, https://doi.org/10.1126/science.1127647; of images
    Krizhevsky & Hinton, Using Very Deep Autoencoders for Content-Based Image Retrieval (2011).

    Figures: ``retrieval_precision_at_<k>_code``, and ``..._pixels`` for images, ``..._data`` for others. Of images a
    picture too, ``samples/retrieval_<split>_<step>.png``: in each row a query, its nearest by code, its nearest by
    pixels. The queries are the first of each class, of the first process's share.

    Args:
        num_neighbours: k.
        num_pictured: rows of the picture; 0 for no picture.
        **kwargs: as in ``NeighbourFigure``.
    """

    def __init__(self, num_neighbours: int = 10, num_pictured: int = 10, **kwargs) -> None:
        super().__init__(num_neighbours, **kwargs)
        if num_pictured < 0:
            raise UserError(f"Retrieval needs num_pictured of at least 0, got {num_pictured}.")
        self.num_pictured = num_pictured

    def figure(self, images: bool) -> tuple[str, str]:
        """See the class."""
        name = f"retrieval_precision_at_{self.num_neighbours}"
        return f"{name}_code", f"{name}_{'pixels' if images else 'data'}"

    def score(self, labels: Tensor, wanted: Tensor, num_classes: int) -> Tensor:
        """(Q,) precision at k."""
        return precision(labels, wanted)

    def finish(self, trainer: Trainer, split: str, search: Search) -> None:
        """Save the picture."""
        x = search.queries.x
        if trainer.is_global_zero and self.num_pictured and x.dim() == 4 and x.shape[1] in (1, 3):
            rows = first_of_each(search.queries.label)[: self.num_pictured]
            names = class_labels(trainer.datamodule, trainer.datamodule.num_classes)
            picture = retrieval_picture(search, rows, [names[label] for label in search.queries.label[rows].tolist()])
            title = f"{split} examples, and the training images nearest to each, nearest first"
            save_picture(trainer, f"retrieval_{split}", picture, title)


def first_of_each(label: Tensor) -> Tensor:
    """Rows of the first example of each class that there is, by class."""
    return torch.stack([(label == value).nonzero()[0, 0] for value in label.unique()])


def retrieval_picture(search: Search, rows: Tensor, names: Sequence[str] = (), max_columns: int = 8) -> Image.Image:
    """Each query, a gap, its nearest by code, a gap, its nearest by pixels.

    Args:
        search: what was found.
        rows: of the queries.
        names: labels of the picture's rows.
        max_columns: nearest ones of either kind at most.
    """
    columns = min(max_columns, search.by_code.index.shape[1])
    query = search.queries.x[rows][:, None]  # (rows, 1, C, H, W)
    gap = torch.ones_like(query)
    by_code, by_data = (search.reference.x[found.index[rows, :columns]] for found in (search.by_code, search.by_data))
    images = torch.cat([query, gap, by_code, gap, by_data], dim=1)
    blank = [""] * (columns - 1)
    above = ["query", "", "by code", *blank, "", "by pixels", *blank]
    return image_grid(images.flatten(0, 1), images.shape[1], rows=names, columns=above)
