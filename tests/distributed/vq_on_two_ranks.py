"""Run as a script, once for each rank: trains a small VQ-VAE and saves the codebook after every step.

    RANKS=2 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=… MASTER_PORT=… python vq_on_two_ranks.py OUT   (and LOCAL_RANK=1)
    RANKS=1 python vq_on_two_ranks.py OUT

With one rank the batches are the joint batches. A run without restarts draws no noise, so that it can be compared.
"""

import os
import sys
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.optim import SGD

from lit_gen.distributed import leave_together
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.models.vaes.vq_vae import VQVAE
from lit_gen.networks.layers.quantize import VectorQuantizer
from lit_gen.networks.mlp import MLP
from lit_gen.protocols import Batch

NUM_EXAMPLES, JOINT_BATCH, SHAPE = 48, 12, (1, 4, 4)


class Loader:
    """Joint batches, of which rank r of n takes rows r, r + n, r + 2 n …"""

    def __init__(self, rank: int, num_ranks: int) -> None:
        self.x = torch.rand(NUM_EXAMPLES, *SHAPE, generator=torch.Generator().manual_seed(1)).round()
        self.rank, self.num_ranks = rank, num_ranks

    def __len__(self) -> int:
        return NUM_EXAMPLES // JOINT_BATCH

    def __iter__(self):
        for rows in torch.arange(NUM_EXAMPLES).split(JOINT_BATCH):
            own = rows[self.rank :: self.num_ranks]
            yield Batch(self.x[own], None, own)


class Record(Callback):
    def __init__(self) -> None:
        self.states, self.gradients = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.gradients.append([p.grad.clone() for p in pl_module.parameters()])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.states.append({name: value.clone() for name, value in pl_module.quantizer.state_dict().items()})


def run(case: str, rank: int, num_ranks: int, out: Path) -> None:
    seed_everything(3, workers=True, verbose=False)
    torch.manual_seed(0)
    quantizer = VectorQuantizer(6, 2, decay=0.5, restart_below=0.9 if case == "restarts" else 0.0)
    networks = MLP(SHAPE, (2, 3), [8]), MLP((2, 3), SHAPE, [8])
    model = VQVAE(*networks, quantizer, BernoulliHead(), positions=(3,), optimizer=partial(SGD, lr=0.01))
    record = Record()
    trainer = Trainer(
        accelerator="cpu",
        devices=num_ranks,
        strategy="ddp" if num_ranks > 1 else "auto",
        use_distributed_sampler=False,
        max_steps=8,
        callbacks=[record],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    trainer.fit(model, Loader(rank, num_ranks), Loader(rank, num_ranks))
    metrics = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    content = {"states": record.states, "gradients": record.gradients, "metrics": metrics}
    torch.save(content, out / f"{case}_{rank}_of_{num_ranks}.pt")


if __name__ == "__main__":
    for name in ("follows", "restarts"):
        run(name, int(os.environ.get("LOCAL_RANK", 0)), int(os.environ["RANKS"]), Path(sys.argv[1]))
    leave_together()
