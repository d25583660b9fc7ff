"""Whether an energy-based model begins to know its training data by heart."""

from itertools import islice

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.held_out_figures import HeldOutFigures, device_of_sums
from lit_gen.distributed import sum_over_ranks
from lit_gen.errors import UserError
from lit_gen.metrics.ais import BoltzmannMachine
from lit_gen.protocols import Batch
from lit_gen.randomness import derive_seed, seeded


class FreeEnergyGap(HeldOutFigures):
    """Mean free energy of held-out examples minus that of training examples, in nats, as ``val/free_energy_gap``.

    The partition function, which nobody knows, falls out of the difference. The gap is near 0 before overfitting and
    grows with it: it is the mean log-likelihood of training examples less that of held-out ones.
    Hinton, A Practical Guide to Training Restricted Boltzmann Machines (2010), Section 6,
    https://www.cs.toronto.edu/~hinton/absps/guideTR.pdf

    Args:
        num_batches: the training examples are those of so many batches, the same ones each time.

    Raises:
        UserError: on a count below 1; at setup, if the model has no free energy.
    """

    def __init__(self, num_batches: int = 10) -> None:
        if num_batches < 1:
            raise UserError(f"FreeEnergyGap needs num_batches of at least 1, got {num_batches}.")
        super().__init__()
        self.num_batches = num_batches
        self._train: list[Tensor] = []
        self._sums: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, BoltzmannMachine):
            raise UserError(
                f"FreeEnergyGap can't score a {type(pl_module).__name__}: it has no free energy; take the callback "
                "out of the config."
            )

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        # Sums and counts of the held-out examples (row 0) and of the training examples (row 1).
        self._sums = torch.zeros(2, 2, dtype=torch.float64, device=device_of_sums(pl_module))

    def _add(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, split: str) -> None:
        self._add_energies(pl_module, batch.x, 0)

    def _add_energies(self, pl_module: LightningModule, x: Tensor, row: int) -> None:
        with eval_mode(pl_module):
            energy = pl_module.free_energy(pl_module.visible_state(x))
        self._sums[row, 0] += energy.to(self._sums.device).double().sum()
        self._sums[row, 1] += len(energy)

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        if not self._train:
            # A loader of its own: binarized as in training, and the training's own place in its stream is untouched.
            with seeded(derive_seed("free energy gap"), pl_module.device):
                loader = trainer.datamodule.train_dataloader()
                self._train = [batch.x.clone() for batch in islice(loader, self.num_batches)]
        for x in self._train:
            self._add_energies(pl_module, x.to(pl_module.device), 1)
        sums = sum_over_ranks(self._sums)
        held_out, train = (sums[:, 0] / sums[:, 1]).tolist()
        name = f"{split}/free_energy_gap"
        pl_module.log(name, held_out - train, sync_dist=True, batch_size=1)
        self.protocols[name] = f"{int(sums[0, 1])} {split} examples less {int(sums[1, 1])} training examples"
