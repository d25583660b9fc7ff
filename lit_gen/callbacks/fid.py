"""The Fréchet distance between a data set and what the model draws."""

from itertools import islice
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.sample_figures import SampleFigures, count_name
from lit_gen.callbacks.shortened_test import LEAST
from lit_gen.distributed import rank, sum_over_ranks, world_size
from lit_gen.errors import UserError
from lit_gen.metrics.features.base import FeatureExtractor
from lit_gen.metrics.fid import FeatureMoments, FrechetDistance, Moments
from lit_gen.metrics.moments_cache import moments_file, read_moments, write_moments
from lit_gen.protocols import Samples
from lit_gen.randomness import derive_seed, seed_torch, seeded


class FID(SampleFigures):
    """Fréchet distance (Heusel et al. 2017, https://arxiv.org/abs/1706.08500) between a split and samples.

    The figure is named after the extractor and the number of samples: ``fid_inception_50k``, ``fid_lenet_10k``. The
    split's moments are computed once and kept in the cache folder. The samples are drawn in numbered blocks of
    ``batch_size``, each with noise of its own that is the same at every measurement and on any number of processes;
    only their moments are kept.

    Args:
        extractor: turns images into features.
        num_samples: number of samples drawn. The distance is biased upwards by about 1 / num_samples: compare figures
            of equal counts alone.
        reference: the split that samples are compared with, "train", "val" or "test"; pixels before binarization.
        every_n_epochs: measures at the validation of every n-th epoch; 0 only at the test (and at ``validate``).
        at_start: also measures the untrained model, as ``val/...`` at step 0, for the loggers alone.
        batch_size: samples drawn at once. Another value draws other noise.
        seed: names the noise.

    Raises:
        UserError: on counts out of range; at setup, if the model can't be drawn from, the data aren't images, or the
            reference has fewer than two.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        num_samples: int = 10_000,
        reference: str = "train",
        every_n_epochs: int = 1,
        at_start: bool = False,
        batch_size: int = 500,
        seed: int = 0,
    ) -> None:
        super().__init__(num_samples, every_n_epochs, batch_size, seed)
        if num_samples < 2:
            raise UserError(f"FID needs num_samples of at least 2, got {num_samples}.")
        if reference not in ("train", "val", "test"):
            raise UserError(f"FID's reference is a split, train, val or test, not '{reference}'.")
        self.extractor = extractor
        self.reference = reference
        self.at_start = at_start
        self.least_samples = max(LEAST, extractor.num_features + 1)
        self._real: tuple[Path, Moments] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Samples):
            raise UserError(
                f"FID can't score a {type(pl_module).__name__}: it has no sample(num_samples); "
                "take the callback out of the config."
            )
        if not hasattr(trainer.datamodule, "reference_loader"):
            raise UserError("FID needs a data module with a reference_loader to compare the samples with.")
        shape = tuple(trainer.datamodule.event_shape)
        if len(shape) != 3:
            raise UserError(f"FID compares images, but an example of these data has shape {shape}.")
        count_of = getattr(trainer.datamodule, "num_examples", None)  # a data module of another's may not know
        if count_of is not None and (count := count_of(self.reference)) < 2:
            raise UserError(
                f"FID needs a reference split of at least 2 examples, but {self.reference} has {count}: set reference, "
                "or num_validation."
            )

    def figure_names(self, split: str) -> set[str]:
        """See the base class."""
        return {f"{split}/fid_{self.extractor.name}_{count_name(self.num_samples)}"}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.at_start or trainer.global_step > 0:
            return
        # Logged through the module it would turn up at the end of the first epoch, over that epoch's own figure.
        name, value = self._measure(trainer, pl_module, "val")
        for logger in trainer.loggers:
            logger.log_metrics({name: value}, step=0)

    def _measure_and_log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        name, value = self._measure(trainer, pl_module, split)
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log(name, value, sync_dist=True, batch_size=1)

    def _measure(self, trainer: Trainer, pl_module: LightningModule, split: str) -> tuple[str, float]:
        """The figure's name and value, the same on every rank."""
        # A fast_dev_run of n batches tries the road with n blocks and n batches; the name tells the count.
        limit = int(trainer.fast_dev_run) or None
        num_samples = self.samples_now(trainer)
        device = pl_module.device
        self.extractor.to(device)
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "fid"), device):
            real = self._reference_moments(trainer, device, limit)
            metric = FrechetDistance(self.extractor.num_features, real).to(_sums_device(device))
            self._add_samples(metric, pl_module, num_samples, device)
            value = float(metric.compute())
        name = f"{split}/fid_{self.extractor.name}_{count_name(num_samples)}"
        self.protocols[name] = self._protocol(num_samples, real.count)
        return name, value

    def _add_samples(
        self, metric: FrechetDistance, model: LightningModule, num_samples: int, device: torch.device
    ) -> None:
        """This rank's blocks: every world_size-th. Reseeds torch's global generators."""
        num_blocks = -(-num_samples // self.batch_size)
        for block in range(rank(), num_blocks, world_size()):
            seed_torch(derive_seed(self.seed, "fid", block), device)
            x = model.sample(min(self.batch_size, num_samples - block * self.batch_size))
            metric.update(self.extractor(x), real=False)

    def _reference_moments(self, trainer: Trainer, device: torch.device, limit: int | None) -> Moments:
        data = trainer.datamodule
        if limit:
            return self._compute_reference_moments(data, device, limit)
        file = moments_file(data.fingerprint(self.reference), self.extractor.fingerprint)
        if self._real is None or self._real[0] != file:
            real = read_moments(file, self.extractor.num_features)
            # All ranks take the same road: one that reads while another computes would leave it waiting for ever.
            hits = int(sum_over_ranks(torch.tensor(int(real is not None), device=device)))
            if real is None or hits < world_size():
                real = self._compute_reference_moments(data, device, None)
                if rank() == 0:
                    write_moments(file, real)
            self._real = (file, real)
        return self._real[1]

    def _compute_reference_moments(self, data, device: torch.device, max_batches: int | None) -> Moments:
        moments = FeatureMoments(self.extractor.num_features).to(_sums_device(device))
        for batch in islice(data.reference_loader(self.reference), max_batches):
            moments.update(self.extractor(batch.x.to(device)))
        return moments.moments()

    def _protocol(self, num_samples: int, num_real: int) -> str:
        line = (
            f"{self.extractor.name} features (weights {self.extractor.fingerprint[:8]}); {num_samples} samples against "
            f"{num_real} {self.reference} examples; noise seed {self.seed}"
        )
        fewest = min(num_samples, num_real)
        if fewest <= self.extractor.num_features:
            line += f"; fewer examples ({fewest}) than its {self.extractor.num_features} features + 1: strongly biased"
        return line


def _sums_device(device: torch.device) -> torch.device:
    # float64 isn't to be had on MPS.
    return device if device.type != "mps" else torch.device("cpu")
