"""Whether what the model draws looks like the data, and whether all of the data are among it."""

from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.real_examples import SPLITS, check_reference, real_examples
from lit_gen.callbacks.sample_figures import SampleFigures
from lit_gen.callbacks.shortened_test import LEAST
from lit_gen.distributed import rank, world_size
from lit_gen.errors import UserError
from lit_gen.metrics.features.base import FeatureExtractor
from lit_gen.metrics.precision_recall import PrecisionRecall as PrecisionRecallMetric


class PrecisionRecall(SampleFigures):
    """Improved precision and recall, density and coverage of samples against as many real examples.

    Figures: ``precision_<features>_k3_<N>``, ``recall_...``, ``density_<features>_k5_<N>``, ``coverage_...`` of N
    samples, where the features are the extractor's or ``data``; see ``lit_gen.metrics.precision_recall`` for what they
    are and for the sources. They depend on N: of a smaller split all examples are taken, and as many samples as asked.

    Args:
        extractor: turns images into features; None compares the examples as they are, which is right for points.
        num_samples: N.
        num_neighbours: k of precision and recall.
        density_neighbours: k of density and coverage.
        reference: the split that samples are compared with, "train", "val" or "test".
        **kwargs: as in ``SampleFigures``.

    Raises:
        UserError: as ``SampleFigures``; at setup, an extractor for what aren't images, or too few examples.
    """

    def __init__(
        self,
        extractor: FeatureExtractor | None = None,
        num_samples: int = 10_000,
        num_neighbours: int = 3,
        density_neighbours: int = 5,
        reference: str = "train",
        **kwargs,
    ) -> None:
        super().__init__(num_samples, **kwargs)
        neighbours = (num_neighbours, density_neighbours)
        if min(neighbours) < 1 or max(neighbours) >= num_samples:
            raise UserError(
                f"PrecisionRecall needs 1 to num_samples - 1 neighbours, got {neighbours} with {num_samples} samples."
            )
        if reference not in SPLITS:
            raise UserError(f"PrecisionRecall's reference is a split, train, val or test, not '{reference}'.")
        self.extractor = extractor
        self.num_neighbours = num_neighbours
        self.density_neighbours = density_neighbours
        self.reference = reference
        self.least_samples = max(LEAST, 1 + max(neighbours))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        check_reference(self, trainer, self.reference)
        shape, count = tuple(trainer.datamodule.event_shape), trainer.datamodule.num_examples(self.reference)
        if self.extractor is not None and len(shape) != 3:
            raise UserError(
                f"PrecisionRecall's extractor takes images, but an example of these data has shape {shape}; "
                "'extractor: null' compares them as they are."
            )
        if max(self.num_neighbours, self.density_neighbours) >= count:
            raise UserError(f"PrecisionRecall: the {count} {self.reference} examples are fewer than its neighbours.")

    def measure(self, trainer: Trainer, pl_module: LightningModule, split: str, count: str) -> Mapping[str, float]:
        """See the class."""
        device = pl_module.device
        metric = PrecisionRecallMetric(self.num_neighbours, self.density_neighbours).to(device)
        real = real_examples(trainer, self.reference, self.samples_now(trainer), device)
        # All ranks hold all of them; each adds its share.
        for x in real.tensor_split(world_size())[rank()].split(self.batch_size):
            metric.update(self._features(x), real=True)
        metric.update(metric.real[0][:0], real=False)  # a rank without a block has none, of this shape
        for x in self.blocks(trainer, pl_module):
            metric.update(self._features(x), real=False)
        result = metric.compute()
        space = "data" if self.extractor is None else self.extractor.name
        k, dense = f"{space}_k{self.num_neighbours}_{count}", f"{space}_k{self.density_neighbours}_{count}"
        figures = {
            f"{split}/precision_{k}": result.precision,
            f"{split}/recall_{k}": result.recall,
            f"{split}/density_{dense}": result.density,
            f"{split}/coverage_{dense}": result.coverage,
        }
        told = f"{space}: {len(real)} {self.reference} examples; {self.told_samples(trainer)}"
        self.protocols |= dict.fromkeys(figures, told)
        return figures

    def _features(self, x: Tensor) -> Tensor:
        if self.extractor is None:
            return x.flatten(1).float()
        self.extractor.to(x.device)
        with torch.no_grad():
            return self.extractor(x)
