"""How many units of a code the model uses."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lit_gen.callbacks.coded_split import check_codes
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.held_out_figures import HeldOutFigures, binarization_of, device_of_sums
from lit_gen.distributed import sum_over_ranks
from lit_gen.errors import UserError
from lit_gen.protocols import Batch
from lit_gen.randomness import derive_seed, seeded


class ActiveUnits(HeldOutFigures):
    """Number of units of the code whose mean varies with the example, as ``test/active_units``.

    A unit u is active if Var_x(E_{u ~ q(u|x)}[u]) is above a threshold: the others hold their prior's value whatever
    the example. Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders (2016), Section 5.2,
    https://arxiv.org/abs/1509.00519

    Measures at test, and at validation only when that is all that was asked for (``lit-gen validate``). The figure
    doesn't depend on the batch size or the number of processes.

    Args:
        threshold: of the variance, over the split's examples, of ``encode(x)``.

    Raises:
        UserError: on a negative threshold; at setup, if the model has no code.
    """

    def __init__(self, threshold: float = 0.01) -> None:
        super().__init__()
        if not threshold >= 0:
            raise UserError(f"ActiveUnits needs a threshold of at least 0, got {threshold}.")
        self.threshold = threshold
        self._sums: Tensor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_codes("ActiveUnits", trainer, pl_module)

    def _measures(self, trainer: Trainer, split: str) -> bool:
        return split == "test" or trainer.state.fn == TrainerFn.VALIDATING

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        self._sums = None

    def _add(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, split: str) -> None:
        with eval_mode(pl_module), seeded(derive_seed("codes"), batch.x.device):
            code = pl_module.encode(batch.x).flatten(1)
        code = code.to(device_of_sums(pl_module)).double()
        sums = torch.stack([torch.ones_like(code), code, code.square()]).sum(1)  # (3, Z)
        self._sums = sums if self._sums is None else self._sums + sums

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        count, total, squares = sum_over_ranks(self._sums)
        variance = squares / count - (total / count).square()
        name = f"{split}/active_units"
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log(name, float((variance > self.threshold).sum()), sync_dist=True, batch_size=1)
        self.protocols[name] = (
            f"of {len(variance)} units, those whose code's variance is above {self.threshold:g}; "
            f"{int(count[0])} {split} examples; binarization {binarization_of(trainer.datamodule)}"
        )
