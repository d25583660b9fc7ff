"""How many of the data's known modes the model reaches."""

from collections.abc import Mapping

from lightning.pytorch import LightningModule, Trainer

from lit_gen.callbacks.held_out_figures import device_of_sums
from lit_gen.callbacks.sample_figures import SampleFigures
from lit_gen.errors import UserError
from lit_gen.metrics.digit_classifier import DigitClassifier
from lit_gen.metrics.mode_coverage import ClassModes
from lit_gen.metrics.mode_coverage import ModeCoverage as ModeCoverageMetric


class ModeCoverage(SampleFigures):
    """Modes covered, share of samples of high quality, and KL divergence over the modes, of data that know theirs.

    Figures: ``modes_<N>``, ``high_quality_<N>`` (a share in [0, 1]) and ``mode_kl_<N>`` in nats, for N samples; see
    ``lit_gen.metrics.ModeCoverage``.

    Args:
        num_samples: N; 2,500 in the literature.
        num_std: standard deviations within which a sample is of high quality.
        **kwargs: as in ``SampleFigures``.

    Raises:
        UserError: as ``SampleFigures``; at setup, data without modes.
    """

    def __init__(self, num_samples: int = 2_500, num_std: float = 3.0, **kwargs) -> None:
        super().__init__(num_samples, **kwargs)
        if not num_std > 0:
            raise UserError(f"ModeCoverage needs a positive num_std, got {num_std}.")
        self.num_std = num_std

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        data = trainer.datamodule
        if getattr(data, "modes", None) is None or getattr(data, "std", None) is None:
            raise UserError(
                f"ModeCoverage counts modes, of which {type(data).__name__} knows none; take the callback out of the "
                "config, or use data with modes: Ring, Grid, GaussianMixture (StackedModeCoverage for StackedMNIST)."
            )

    def measure(self, trainer: Trainer, pl_module: LightningModule, split: str, count: str) -> Mapping[str, float]:
        """See the class."""
        data = trainer.datamodule
        metric = ModeCoverageMetric(data.modes, data.std, getattr(data, "weights", None), self.num_std)
        metric.to(device_of_sums(pl_module))
        for x in self.blocks(trainer, pl_module):
            metric.update(x)
        result = metric.compute()
        figures = {
            f"{split}/modes_{count}": float(result.num_covered),
            f"{split}/high_quality_{count}": result.high_quality,
            f"{split}/mode_kl_{count}": result.kl,
        }
        told = f"of {len(data.modes)} modes; high quality within {self.num_std:g} std; {self.told_samples(trainer)}"
        self.protocols |= dict.fromkeys(figures, told)
        return figures


class StackedModeCoverage(SampleFigures):
    """Of the 1,000 modes of stacked digits: how many a classifier finds among the samples, and the KL divergence.

    Figures: ``modes_<N>``, ``mode_kl_<N>`` in nats from the uniform distribution; see ``lit_gen.metrics.ClassModes``.
    Figures of another classifier aren't the same figures: it finds classes in images that are no digits too.

    Args:
        num_samples: N; 26,000 in the literature.
        classifier: tells the digit that a grey image shows; None for the LeNet that comes with the package.
        **kwargs: as in ``SampleFigures``.

    Raises:
        UserError: as ``SampleFigures``; at setup, data whose examples aren't images of three channels.
    """

    def __init__(self, num_samples: int = 26_000, classifier: DigitClassifier | None = None, **kwargs) -> None:
        super().__init__(num_samples, **kwargs)
        self.classifier = DigitClassifier() if classifier is None else classifier

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        shape = tuple(getattr(trainer.datamodule, "event_shape", ()))
        if len(shape) != 3 or shape[0] != 3:
            raise UserError(
                f"StackedModeCoverage reads a digit in each of an image's three channels, but an example of these data "
                f"has shape {shape}; take the callback out of the config."
            )

    def measure(self, trainer: Trainer, pl_module: LightningModule, split: str, count: str) -> Mapping[str, float]:
        """See the class."""
        self.classifier.to(pl_module.device)
        metric = ClassModes(self.classifier.num_classes**3).to(device_of_sums(pl_module))
        for x in self.blocks(trainer, pl_module):
            metric.update(self.classifier.stacked(x))
        result = metric.compute()
        figures = {f"{split}/modes_{count}": float(result.num_covered), f"{split}/mode_kl_{count}": result.kl}
        weights = self.classifier.extractor.fingerprint[:8]
        told = f"of {len(metric.counts)} modes, by a LeNet (weights {weights}); {self.told_samples(trainer)}"
        self.protocols |= dict.fromkeys(figures, told)
        return figures
