"""Two ranks, of which the second meets a value that isn't finite at its second step; each tells how it ended."""

import sys

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_gen.callbacks.divergence_guard import DivergenceGuard
from lit_gen.errors import UserError


class Model(LightningModule):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.where = where

    def training_step(self, batch, batch_idx):
        bad = torch.tensor(float("nan") if self.global_rank == 1 and batch_idx == 1 else 1.0)
        loss = self.weight.square().sum()
        if self.where == "the gradient":
            loss = loss + Spoilt.apply(self.weight, bad)
        return {"loss": loss, "aside": bad if self.where == "a term" else torch.zeros(())}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Spoilt(torch.autograd.Function):
    """Zero, with a gradient of ``factor``."""

    @staticmethod
    def forward(ctx, weight, factor):
        ctx.save_for_backward(weight, factor)
        return torch.zeros(())

    @staticmethod
    def backward(ctx, gradient):
        weight, factor = ctx.saved_tensors
        return gradient * factor * torch.ones_like(weight), None


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
        trainer.fit(Model(sys.argv[2]), torch.utils.data.DataLoader(torch.zeros(16, 1), batch_size=1))
    except UserError as error:
        print(f"rank {trainer.global_rank}: {error}", flush=True)
        sys.exit(2)
