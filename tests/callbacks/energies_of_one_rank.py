"""Started by test_energies_over_ranks: measures an RBM's figures as one of several processes and prints them."""

import json
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist

from lit_gen.callbacks.free_energy_gap import FreeEnergyGap
from lit_gen.callbacks.partition_function import PartitionFunction
from lit_gen.data.loader import EvaluationLoader, Examples, TrainingLoader
from lit_gen.distributed import leave_together
from lit_gen.distributions.units import BernoulliUnits
from lit_gen.models.energy.rbm import RBM


def measure(rank: int, world_size: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(1)
    train, held_out = (Examples(torch.rand(num, 1, 3, 3, generator=generator).round()) for num in (60, 37))
    data = SimpleNamespace(
        train_dataloader=lambda: TrainingLoader(train, 12, rank=rank, world_size=world_size),
        reference_loader=lambda split: EvaluationLoader(train, 7, rank, world_size),
        binarization="threshold",
    )
    torch.manual_seed(0)
    model = RBM(BernoulliUnits((1, 3, 3)), BernoulliUnits(5))
    torch.nn.init.normal_(model.weight)
    figures: dict[str, float] = {}
    model.log = lambda name, value, **kwargs: figures.update({name: value})
    model.log_dict = lambda values, **kwargs: figures.update(values)
    torch.manual_seed(100 + rank)  # what the processes draw elsewhere has no part in the figures
    trainer = SimpleNamespace(datamodule=data)
    for callback in (FreeEnergyGap(num_batches=3), PartitionFunction(20, 30)):
        callback.on_test_epoch_start(trainer, model)
        for number, batch in enumerate(EvaluationLoader(held_out, 5, rank, world_size)):
            callback.on_test_batch_end(trainer, model, None, batch, number)
        callback.on_test_epoch_end(trainer, model)
    return figures


if __name__ == "__main__":
    rank, world_size, meeting_point = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=world_size)
    print(json.dumps(measure(rank, world_size)))
    leave_together()
