"""What the discriminator makes of held-out examples and of fresh samples."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from lit_gen.callbacks.charts import histograms
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.held_out_figures import HeldOutFigures
from lit_gen.callbacks.intervals import due_or_asked_for
from lit_gen.callbacks.pictures import save_picture
from lit_gen.callbacks.sample_figures import check_samples
from lit_gen.distributed import rank, sum_over_ranks, world_size
from lit_gen.errors import UserError
from lit_gen.protocols import Batch, Discriminates
from lit_gen.randomness import derive_seed, seed_torch, seeded


class DiscriminatorConfidence(HeldOutFigures):
    """The discriminator's mean verdict on held-out examples and on as many samples, and a picture of both.

    Figures where scores are logits: ``probability_real_of_real`` and ``probability_real_of_fake``, the mean probability
    of being real, and ``discriminator_accuracy``, the share of right calls at 1/2 among both alike (a tie is half a
    right call). At the game's equilibrium all three are 1/2; 1, 0 and 1 are a discriminator that has won. Where they
    are no logits: ``score_of_real`` and ``score_of_fake``, the mean raw scores. The picture,
    ``samples/discriminator_confidence_<step>.png``, has the histograms of what the means are of.

    A discriminator that judges m examples at once has an m-th of the values, each of m examples of one kind.

    Args:
        every_n_epochs: measures at the validation of every n-th epoch; 0 only at the test (and at ``validate``).
        batch_size: samples drawn at once. Another value draws other noise.
        seed: names the noise.

    Raises:
        UserError: on counts out of range; at setup, a model without a discriminator to ask, or without samples.
    """

    def __init__(self, every_n_epochs: int = 1, batch_size: int = 500, seed: int = 0) -> None:
        super().__init__()
        for name, value, least in [("every_n_epochs", every_n_epochs, 0), ("batch_size", batch_size, 1)]:
            if value < least:
                raise UserError(f"DiscriminatorConfidence needs {name} of at least {least}, got {value}.")
        self.every_n_epochs = every_n_epochs
        self.batch_size = batch_size
        self.seed = seed
        self._real: list[Tensor] = []
        self._count = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_discriminates(self, pl_module)

    def _measures(self, trainer: Trainer, split: str) -> bool:
        return split == "test" or due_or_asked_for(trainer, self.every_n_epochs)

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        self._real, self._count = [], 0

    def _add(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, split: str) -> None:
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "scores of real"), pl_module.device):
            self._real.append(pl_module.scores(batch.x))
        self._count += len(batch.x)

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not self._real:
            return
        device = pl_module.device
        num = int(sum_over_ranks(torch.tensor(self._count, device=device)))
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "scores of fake"), device):
            fake = self._scores_of_samples(pl_module, num)
            sets = {"real": _of_all_ranks(torch.cat(self._real)), "fake": _of_all_ranks(fake)}
            probabilities = {name: pl_module.probability_real(scores) for name, scores in sets.items()}
        self._real = []
        if probabilities["real"] is not None:
            sets, kind, label, limits = probabilities, "probability_real", "probability of being real", (0.0, 1.0)
        else:
            kind, label, limits = "score", "score", None
        figures = {f"{split}/{kind}_of_{name}": float(values.cpu().double().mean()) for name, values in sets.items()}
        if limits is not None:
            right = [_share_above_half(sets["real"]), 1 - _share_above_half(sets["fake"])]
            figures[f"{split}/discriminator_accuracy"] = sum(right) / 2
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log_dict(figures, sync_dist=True, batch_size=1)
        told = f"{num} {split} examples and {num} samples; noise seed {self.seed}"
        self.protocols |= dict.fromkeys(figures, told)
        if trainer.is_global_zero:
            title = f"the discriminator's verdict on {num:,} {split} examples and as many samples"
            save_picture(trainer, "discriminator_confidence", histograms(sets, label, limits), title)

    def _scores_of_samples(self, model: LightningModule, num: int) -> Tensor:
        """This rank's share of the scores of ``num`` samples, drawn in numbered blocks."""
        scores = [torch.empty(0, device=model.device)]
        for block in range(rank(), -(-num // self.batch_size), world_size()):
            seed_torch(derive_seed(self.seed, "scores of fake", block), model.device)
            scores.append(model.scores(model.sample(min(self.batch_size, num - block * self.batch_size))))
        return torch.cat(scores)


def check_discriminates(callback, model: LightningModule) -> None:
    """Refuse a model without a discriminator that one can ask, or that can't be drawn from.

    Raises:
        UserError: says so.
    """
    check_samples(callback, model)
    if not isinstance(model, Discriminates):
        raise UserError(
            f"{type(callback).__name__} asks a discriminator, but a {type(model).__name__} has no scores(x) and "
            "probability_real(scores); take the callback out of the config."
        )


def _of_all_ranks(x: Tensor) -> Tensor:
    return torch.cat(gather_all_tensors(x.contiguous())) if world_size() > 1 else x


def _share_above_half(probability: Tensor) -> float:
    """Ties count half."""
    return float(((probability > 0.5).float() + (probability >= 0.5).float()).mean()) / 2
