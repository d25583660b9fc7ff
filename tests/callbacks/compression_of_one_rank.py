"""Started by test_compression: codes photographs as one of several processes and prints the figures."""

import json
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import nn

from lit_gen.callbacks.compression import Compression
from lit_gen.data.frames import ImageFrames
from lit_gen.distributed import leave_together


class Model(nn.Module):
    """A linear code of 4 numbers, the same on every rank."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)))[0])
        self.figures: dict[str, float] = {}

    def encode(self, x):
        return x.flatten(1) @ self.weight

    def decode(self, z):
        return (z @ self.weight.T).view(-1, 1, 8, 8)

    def log(self, name, value, **_) -> None:
        self.figures[name] = value


def main(rank: int, world_size: int, meeting_point: str) -> None:
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=world_size)
    data = ImageFrames(side=48, num_frames=401, num_validation=50, batch_size=50, eval_batch_size=60)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)
    trainer = SimpleNamespace(datamodule=data, fast_dev_run=False, is_global_zero=False)
    model = Model()
    Compression(bits=[5]).on_test_epoch_end(trainer, model)
    print(json.dumps(model.figures))
    leave_together()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
