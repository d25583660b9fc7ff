"""The negative log-likelihood of held-out data, by a protocol that the figure's name states."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.errors import UserError
from lit_gen.metrics.nll import NegativeLogLikelihood, StreamingLogMeanExp
from lit_gen.protocols import Batch, ExactLikelihood, ImportanceWeights
from lit_gen.randomness import derive_seed, seed_torch, seeded


class Likelihood(Callback):
    """Mean of -log p(x) in nats: exact where the model knows its density, else importance-weighted.

    The estimate is -log((1/K) sum_k p(x, z_k) / q(z_k|x)), z_k ~ q(z|x): on average an upper bound of -log p(x) that
    falls as K grows (Burda et al. 2016, Eq. 8 and Theorem 1, https://arxiv.org/abs/1509.00519). Its figure is named
    ``nll_nats_k<K>``, the exact one ``nll_nats_exact``; ``<figure>_se`` is the standard error over the examples.

    The figure doesn't depend on the batch size, the order or the number of processes: the noise belongs to the
    example's number in its split. Examples are taken in groups of neighbouring numbers, as many as fill ``chunk_size``
    rows with their K samples (one example where K is at least that), and a group always draws the noise of all its
    members, whichever of them are at hand. Memory doesn't grow with K.

    Args:
        num_samples: K on the test split.
        chunk_size: rows (samples of z) that the model sees at once. Another value draws other noise.
        val_num_samples: K at validation; None measures at validation only when that is all that was asked for
            (``lit-gen validate``), with ``num_samples``.
        seed: names the noise.

    Raises:
        UserError: on counts below 1; at setup, if the model has no likelihood.
    """

    def __init__(
        self, num_samples: int = 500, chunk_size: int = 500, val_num_samples: int | None = None, seed: int = 0
    ) -> None:
        for name, value in [("num_samples", num_samples), ("chunk_size", chunk_size)]:
            if value < 1:
                raise UserError(f"Likelihood needs {name} of at least 1, got {value}.")
        if val_num_samples is not None and val_num_samples < 1:
            raise UserError(f"Likelihood needs val_num_samples of at least 1, or null for none, got {val_num_samples}.")
        self.num_samples = num_samples
        self.chunk_size = chunk_size
        self.val_num_samples = val_num_samples
        self.seed = seed
        self.protocols: dict[str, str] = {}
        """The line that states how each logged figure was measured, by the figure's name."""
        self._metric: NegativeLogLikelihood | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, ExactLikelihood | ImportanceWeights):
            raise UserError(
                f"Likelihood can't score a {type(pl_module).__name__}: it has neither log_prob(x) nor "
                "log_importance_weights(x, num_samples); take the callback out of the config."
            )

    def _samples_at_validation(self, trainer: Trainer) -> int | None:
        asked_for = trainer.state.fn == TrainerFn.VALIDATING
        return self.num_samples if self.val_num_samples is None and asked_for else self.val_num_samples

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        num_samples = self._samples_at_validation(trainer)
        if num_samples is not None:
            self._add(pl_module, batch, num_samples, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add(pl_module, batch, self.num_samples, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        num_samples = self._samples_at_validation(trainer)
        if num_samples is not None:
            self._log(trainer, pl_module, "val", num_samples)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module, "test", self.num_samples)

    def _start(self, pl_module: LightningModule) -> None:
        # The sums are float64, which MPS doesn't have.
        device = pl_module.device if pl_module.device.type != "mps" else torch.device("cpu")
        self._metric = NegativeLogLikelihood().to(device)

    def _add(self, pl_module: LightningModule, batch: Batch, num_samples: int, dataloader_idx: int) -> None:
        if dataloader_idx > 0:
            raise UserError("Likelihood scores one loader at a time, but there are several.")
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "likelihood"), batch.x.device):
            if isinstance(pl_module, ExactLikelihood):
                self._metric.update(pl_module.log_prob(batch.x))
            else:
                index = batch.index.tolist()
                self._metric.update(
                    estimate_log_px(pl_module, batch.x, index, num_samples, self.chunk_size, self.seed, batch.label)
                )

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str, num_samples: int) -> None:
        exact = isinstance(pl_module, ExactLikelihood)
        estimate = self._metric.compute()
        name = f"{split}/nll_nats_exact" if exact else f"{split}/nll_nats_k{num_samples}"
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        figures = {name: float(estimate.mean), f"{name}_se": float(estimate.standard_error)}
        pl_module.log_dict(figures, sync_dist=True, batch_size=1)
        method = "exact" if exact else f"importance-weighted, K={num_samples}, noise seed {self.seed}"
        data = trainer.datamodule
        binarization = getattr(data, "binarization", "unknown")
        if binarization in ("fixed", "dynamic"):
            binarization += f" (seed {getattr(data, 'binarization_seed', 'unknown')})"
        self.protocols[name] = f"{method}; {estimate.count} {split} examples; binarization {binarization}"


def estimate_log_px(
    model: ImportanceWeights,
    x: Tensor,
    index: Sequence[int],
    num_samples: int,
    chunk_size: int,
    seed: int,
    label: Tensor | None = None,
) -> Tensor:
    """Importance-weighted estimates of log p(x) whose noise is tied to the examples' numbers.

    Reseeds torch's global generators: call it within ``randomness.seeded``.

    Args:
        x: (B, *event_shape).
        index: the B examples' numbers in their split.
        num_samples: K.
        chunk_size: rows that the model sees at once.
        label: (B,) class indices for a conditional model.

    Returns:
        (B,) float64, nats.
    """
    group_size = max(1, chunk_size // num_samples)
    positions: dict[int, list[int]] = defaultdict(list)
    for position, number in enumerate(index):
        positions[number // group_size].append(position)
    parts, order = [], []
    for group, members in positions.items():
        slots = [index[position] % group_size for position in members]
        # Members that aren't at hand are stood in for, so that the others meet the same noise as ever.
        rows = [members[0]] * group_size
        for position, slot in zip(members, slots, strict=True):
            rows[slot] = position
        block, labels = x[rows], None if label is None else label[rows]
        estimate = StreamingLogMeanExp()
        for chunk, start in enumerate(range(0, num_samples, chunk_size)):
            seed_torch(derive_seed(seed, "likelihood", group, chunk), x.device)
            estimate.update(model.log_importance_weights(block, min(chunk_size, num_samples - start), labels))
        parts.append(estimate.compute()[slots])
        order += members
    log_px = torch.cat(parts)
    return log_px[torch.tensor(order, device=log_px.device).argsort()]
