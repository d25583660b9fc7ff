"""The two sides of what ``lit-gen fit`` costs: turns of it, and turns of a loop written by hand."""

import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch import Callback

from lit_gen.cli.lit_gen_cli import LitGenCLI

GOAL = 1.10
BATCH = 128


class Turn(NamedTuple):
    """How a turn is taken: steps that warm up, steps that count, and the clock that counts them."""

    warm_up: int
    steps: int
    clock: Callable[[], float] = time.perf_counter

    @property
    def total(self) -> int:
        """All its steps."""
        return self.warm_up + self.steps


class StepClock(Callback):
    """Seconds from the end of the warm-up to the end of the last step."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        step = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        if step == self.turn.warm_up:
            self.began = self.turn.clock()
        elif step == self.turn.total:
            self.seconds = self.turn.clock() - self.began


def build(folder: Path, turn: Turn, config: str, *arguments: str) -> LitGenCLI:
    """Model, data and trainer of a config, ready to fit for a turn's steps without evaluation."""
    return LitGenCLI(
        "fit",
        [
            "--config",
            config,
            f"--runs={folder}",
            "--wandb=false",
            "--monitor=null",
            "--trainer.callbacks=[]",
            "--trainer.limit_val_batches=0",
            "--trainer.max_epochs=1000",
            f"--trainer.max_steps={turn.total}",
            "--checkpoint_every_n_steps=100000",
            f"--data.batch_size={BATCH}",
            "--trainer.log_every_n_steps=50",
            "--trainer.accelerator=cpu",
            *arguments,
        ],
    )


def fit(turn: Turn, prepare: Callable[[], LitGenCLI]) -> float:
    """Our side."""
    with contextlib.redirect_stdout(io.StringIO()):
        cli = prepare()
        clock = StepClock(turn)
        # Last but for checkpoints, so that every callback's work counts.
        cli.trainer.callbacks.append(clock)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        cli.record.close()
    return clock.seconds


def timed(turn: Turn, step: Callable[[torch.Tensor], None], x: torch.Tensor) -> float:
    """The other side: ``step`` on shuffled batches of ``x``, float32."""
    torch.manual_seed(0)
    done, began = 0, 0.0
    while True:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = x[order[start : start + BATCH]]
            step(batch.float().div_(255) if x.dtype == torch.uint8 else batch)
            done += 1
            if done == turn.warm_up:
                began = turn.clock()
            elif done == turn.total:
                return turn.clock() - began
