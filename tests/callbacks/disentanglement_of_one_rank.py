"""Started by test_disentanglement: measures both figures as one of several processes and prints them."""

import json
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import nn

from lit_gen.callbacks.disentanglement import Disentanglement
from lit_gen.data.loader import EvaluationLoader
from lit_gen.data.shapes import Shapes
from lit_gen.distributed import leave_together


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1024, 4, generator=torch.Generator().manual_seed(0)) / 8)
        self.logged = {}

    def encode(self, x):
        return x.flatten(1) @ self.weight

    def decode(self, z):
        return z @ self.weight.T

    def log_dict(self, figures, **kwargs):
        self.logged |= figures


def measure(rank: int, world_size: int) -> dict[str, float]:
    shapes = Shapes(num_sizes=2, num_angles=3, num_positions=5, num_train=100, num_validation=0, num_test=331)
    data = SimpleNamespace(
        reference_loader=lambda split: EvaluationLoader(
            shapes._examples(split, "none", torch.device("cpu")), 50, rank, world_size
        ),
        num_examples=shapes.num_examples,
        factors=shapes.factors,
        factor_names=shapes.factor_names,
    )
    model = Model()
    Disentanglement(num_votes=300)._measure(SimpleNamespace(datamodule=data, fast_dev_run=False), model, "test")
    return {name: round(value, 6) for name, value in model.logged.items()}


if __name__ == "__main__":
    rank, world_size, meeting_point = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=world_size)
    print(json.dumps(measure(rank, world_size)))
    leave_together()
