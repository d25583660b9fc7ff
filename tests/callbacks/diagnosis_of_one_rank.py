"""Started by test_diagnosis_over_ranks: measures a game's figures as one of several processes and prints them."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from drawing import Judges  # beside this script
from lightning.pytorch.trainer.states import TrainerFn

from lit_gen.callbacks.collapse_alarm import CollapseAlarm
from lit_gen.callbacks.discriminator_confidence import DiscriminatorConfidence
from lit_gen.callbacks.mode_coverage import ModeCoverage, StackedModeCoverage
from lit_gen.callbacks.nearest_training import NearestTraining
from lit_gen.callbacks.precision_recall import PrecisionRecall
from lit_gen.data.loader import EvaluationLoader, Examples
from lit_gen.data.toy import Grid
from lit_gen.distributed import leave_together
from lit_gen.metrics.features.lenet import LeNet

COUNTS = {"train": 283, "val": 211, "test": 37}  # neither of them even


class Model(Judges):
    """Keeps what is logged."""

    def __init__(self, draw, judge):
        super().__init__(draw, judge)
        self.logged = {}

    def log_dict(self, figures, **kwargs):
        self.logged |= {name: float(value) for name, value in figures.items()}


def data_of(draw, event_shape, rank: int, world_size: int, **more):
    generator = torch.Generator().manual_seed(1)
    sets = {split: Examples(draw(count, generator)) for split, count in COUNTS.items()}
    return SimpleNamespace(
        reference_loader=lambda split: EvaluationLoader(sets[split], 8, rank, world_size),
        num_examples=COUNTS.get,
        event_shape=event_shape,
        **more,
    )


def measure(rank: int, world_size: int, folder: Path) -> dict[str, float]:
    grid = Grid()
    points = data_of(grid.sample, (2,), rank, world_size, modes=grid.modes, std=grid.std, weights=grid.weights)
    pixels = data_of(lambda num, g: torch.rand(num, 3, 8, 8, generator=g), (3, 8, 8), rank, world_size)
    of_points = Model(lambda num: 1.01 * grid.sample(num), lambda x: x.sum(1))
    of_pixels = Model(lambda num: torch.rand(num, 3, 8, 8), lambda x: x.flatten(1).sum(1) - 96)
    figures = {}
    for data, model, callbacks in (
        # Seven blocks of samples, and one, of which the second rank has none.
        (points, of_points, [ModeCoverage(70, batch_size=10), PrecisionRecall(None, 97, batch_size=15)]),
        (points, of_points, [ModeCoverage(71), PrecisionRecall(None, 98), NearestTraining(96)]),
        (pixels, of_pixels, [StackedModeCoverage(65, batch_size=11), PrecisionRecall(LeNet(), 99, batch_size=20)]),
        (pixels, of_pixels, [NearestTraining(41, LeNet(), batch_size=7), NearestTraining(42, num_pictured=3)]),
        (points, of_points, [DiscriminatorConfidence(batch_size=10), CollapseAlarm(num_samples=200)]),
    ):
        trainer = SimpleNamespace(
            datamodule=data,
            fast_dev_run=False,
            is_global_zero=rank == 0,
            global_rank=rank,
            default_root_dir=folder,
            loggers=[],
            callbacks=[],
            current_epoch=0,
            sanity_checking=False,
            state=SimpleNamespace(fn=TrainerFn.TESTING),
            fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=world_size)),
        )
        for callback in callbacks:
            callback.setup(trainer, model, "test")
            if isinstance(callback, DiscriminatorConfidence):
                callback.on_test_epoch_start(trainer, model)
                for batch in data.reference_loader("test"):
                    callback.on_test_batch_end(trainer, model, None, batch, 0)
            callback.on_test_epoch_end(trainer, model)
            figures |= callback.protocols
        figures |= model.logged
    return figures


if __name__ == "__main__":
    rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    if world_size > 1:
        meeting = folder / f"meeting_of_{world_size}"
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size)
    print(json.dumps(measure(rank, world_size, folder)))
    leave_together()
