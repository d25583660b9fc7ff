"""Run as a script, once for each rank: finds principal components in several ways and saves what each rank found.

    LOCAL_RANK=0 NODE_RANK=0 WORLD_SIZE=2 MASTER_ADDR=… MASTER_PORT=… python pca_on_two_ranks.py OUT

``OUT/x.npy`` holds examples of which the ranks have unequal shares.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_gen.data.digits import Digits
from lit_gen.distributed import leave_together
from lit_gen.metrics.principal_components import StreamingMoments, fit_principal_components
from lit_gen.models.autoencoders.pca import PCA
from lit_gen.protocols import Batch

FIRST_SHARE = 500
NUM_COMPONENTS = 20


def fit(out: Path, ckpt_path: Path | None = None) -> tuple[PCA, Trainer]:
    model = PCA((1, 8, 8), NUM_COMPONENTS)
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        use_distributed_sampler=False,
        max_epochs=1,
        callbacks=[ModelCheckpoint(out, filename="{step}", every_n_train_steps=4, save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    trainer.fit(model, datamodule=Digits(batch_size=100), ckpt_path=ckpt_path, weights_only=True)
    assert trainer.global_step == 11
    return model, trainer


def main(out: Path, rank: int) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    whole, trainer = fit(out / "whole")
    figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
    resumed, _ = fit(out / "resumed", out / "whole" / "step=4.ckpt")
    x = torch.from_numpy(np.load(out / "x.npy")).float()
    share = x[FIRST_SHARE:] if rank else x[:FIRST_SHARE]
    found = fit_principal_components([Batch(part, None, None) for part in share.split(100)], NUM_COMPONENTS)
    moments = StreamingMoments(x.shape[1])  # a rank that has seen nothing yet counts for nothing
    if rank == 0:
        moments.update(share)
    first = moments.over_ranks().compute()
    content = {
        "whole": whole.state_dict(),
        "resumed": resumed.state_dict(),
        "unequal": found._asdict(),
        "first": {"covariance": first.covariance, "count": torch.tensor(first.count)},
        "figures": {name: torch.tensor(value) for name, value in figures.items()},
    }
    torch.save(content, out / f"found_{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(os.environ["LOCAL_RANK"]))
    leave_together()
