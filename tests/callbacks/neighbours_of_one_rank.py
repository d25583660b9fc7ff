"""Started by test_neighbours: measures the figures of neighbours as one of several processes and prints them."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import nn

from lit_gen.callbacks.coded_split import coded_split
from lit_gen.callbacks.neighbours import KNNAccuracy, Retrieval
from lit_gen.data.loader import EvaluationLoader, Examples
from lit_gen.distributed import leave_together

COUNTS = {"train": 83, "test": 37}  # neither of them even


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 2, generator=torch.Generator().manual_seed(0)))
        self.logged = {}

    def encode(self, x):
        return x.flatten(1) @ self.weight

    def decode(self, z):
        return z @ self.weight.T

    def log(self, name, value, **kwargs):
        self.logged[name] = value


def measure(rank: int, world_size: int, folder: Path) -> dict[str, float]:
    generator = torch.Generator().manual_seed(1)
    sets = {}
    for split, count in COUNTS.items():
        label = torch.randint(0, 3, (count,), generator=generator)
        sets[split] = Examples(torch.rand(count, 1, 4, 4, generator=generator) + label.view(-1, 1, 1, 1) / 6, label)
    data = SimpleNamespace(
        reference_loader=lambda split: EvaluationLoader(sets[split], 8, rank, world_size),
        num_examples=COUNTS.get,
        num_classes=3,
        event_shape=(1, 4, 4),
    )
    trainer = SimpleNamespace(datamodule=data, fast_dev_run=False, is_global_zero=False, default_root_dir=folder)
    model = Model()
    for callback in (KNNAccuracy(5), Retrieval(6, num_reference=40, num_queries=11)):
        callback.setup(trainer, model, "test")
        callback._measure(trainer, model, "test")
        assert all("; 37 test" in line or "; 11 test" in line for line in callback.protocols.values())
    whole = coded_split(trainer, model, "train").over_ranks()
    assert whole.index.tolist() == list(range(83))
    assert torch.equal(whole.x, sets["train"].x) and torch.equal(whole.label, sets["train"].label)
    return model.logged


if __name__ == "__main__":
    rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world_size)
    print(json.dumps(measure(rank, world_size, folder)))
    leave_together()
