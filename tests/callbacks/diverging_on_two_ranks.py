"""Two ranks, of which the second has a term that isn't finite at its second step; each tells how it ended."""

import sys

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_gen.callbacks.divergence_guard import DivergenceGuard
from lit_gen.distributed import leave_together
from lit_gen.errors import UserError


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def training_step(self, batch, batch_idx):
        bad = self.global_rank == 1 and batch_idx == 1
        return {"loss": self.weight.square().sum(), "aside": torch.tensor(float("nan") if bad else 0.0)}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


if __name__ == "__main__":
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=1,
        logger=False,
        log_every_n_steps=3,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=sys.argv[1],
        callbacks=[DivergenceGuard(), ModelCheckpoint(sys.argv[1], every_n_train_steps=2)],
    )
    try:
        trainer.fit(Model(), torch.utils.data.DataLoader(torch.zeros(16, 1), batch_size=1))
    except UserError as error:
        print(f"rank {trainer.global_rank}: {error}", flush=True)
        leave_together()
        sys.exit(2)
