"""Run as a script, once for each of two ranks: trains small RBMs and saves what the rank saw.

    LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=… MASTER_PORT=… python rbm_on_two_ranks.py OUT   (and LOCAL_RANK=1 beside it)

Both ranks are given the same examples, so that what differs between them is the noise.
"""

import os
import sys
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.optim import SGD

from lit_gen.distributed import leave_together
from lit_gen.distributions.units import BernoulliUnits
from lit_gen.errors import UserError
from lit_gen.models.energy import rbm
from lit_gen.models.energy.rbm import RBM
from lit_gen.protocols import Batch


class Loader:
    def __init__(self) -> None:
        self.x = torch.rand(12, 6, generator=torch.Generator().manual_seed(1)).round()

    def __len__(self) -> int:
        return 3

    def __iter__(self):
        for index in torch.arange(12).split(4):
            yield Batch(self.x[index], None, index)


class Spy(RBM):
    """Keeps the states of the model that its gradient was taken at, and its chains after each step."""

    def _model_states(self, hidden_input):
        states = super()._model_states(hidden_input)
        self.seen.append(states.clone())
        return states


class Record(Callback):
    def __init__(self) -> None:
        self.averaged, self.chains, self.at_validation = [], [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.averaged.append([p.grad.clone() for p in pl_module.parameters()])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if pl_module.chains is not None:
            self.chains.append(pl_module.chains.clone())

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        if pl_module.chains is not None:
            self.at_validation.append((len(self.chains), pl_module.chains.clone()))


def run(case: str, num_chains: int | None, out: Path) -> None:
    seed_everything(3, workers=True, verbose=False)
    model = Spy(BernoulliUnits(6), BernoulliUnits(4), num_chains=num_chains, optimizer=partial(SGD, lr=0.2))
    torch.nn.init.normal_(model.weight)
    model.seen, own = [], []
    average = rbm.average_gradients

    def keep_and_average(parameters):
        parameters = list(parameters)
        own.append([p.grad.clone() for p in parameters])
        average(parameters)

    rbm.average_gradients = keep_and_average
    record = Record()
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        use_distributed_sampler=False,
        max_epochs=2,
        callbacks=[record],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    refusal = None
    try:
        trainer.fit(model, Loader(), Loader())
    except UserError as error:
        refusal = str(error)
    rbm.average_gradients = average
    content = {name: getattr(record, name) for name in ("averaged", "chains", "at_validation")}
    content |= {"own": own, "states": model.seen, "state": model.state_dict(), "refusal": refusal}
    torch.save(content, out / f"{case}_{os.environ['LOCAL_RANK']}.pt")


if __name__ == "__main__":
    for name, number in (("cd", None), ("pcd", 10), ("odd", 5)):
        run(name, number, Path(sys.argv[1]))
    leave_together()
