"""A classifier: what the feature extractors of this project are trained as."""

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.models.base import GenerativeModel
from lit_gen.protocols import Batch


class Classifier(GenerativeModel):
    """Softmax classifier trained by cross entropy, -log p(label|x) in nats.

    Args:
        network: (B, *event_shape), pixels in [0, 1] -> (B, num_classes) logits.
        augmentation: applied to the training batches alone.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the schedule of the learning rate, stepped after every batch; None keeps the rate.
    """

    progress_bar_terms = ("loss", "accuracy")

    def __init__(
        self,
        network: nn.Module,
        augmentation: nn.Module | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.augmentation = augmentation or nn.Identity()
        self.optimizer = optimizer
        self.scheduler = scheduler

    def forward(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, num_classes) logits."""
        return self.network(x)

    def _terms(self, x: Tensor, label: Tensor) -> dict[str, Tensor]:
        logits = self(x)
        return {
            "loss": F.cross_entropy(logits, label, reduction="none"),
            "accuracy": (logits.argmax(1) == label).to(logits.dtype).detach(),
        }

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Means over the batch of -log p(label|x) in nats (``loss``) and of the hits (``accuracy``)."""
        terms = self._terms(self.augmentation(batch.x), batch.label)
        return {name: value.mean() for name, value in terms.items()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The terms of ``training_step`` for each example, (B,), without augmentation."""
        return self._terms(batch.x, batch.label)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """As ``validation_step``."""
        return self._terms(batch.x, batch.label)

    def configure_optimizers(self):
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}
