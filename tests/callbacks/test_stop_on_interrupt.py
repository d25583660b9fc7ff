"""When a Ctrl-C stops a run, and what of the signal's handler stays behind."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from lit_gen.callbacks.stop_on_interrupt import AGREE_EVERY, StopOnInterrupt
from lit_gen.errors import Interrupted


class Strategy:
    """Two ranks, of which the other was interrupted or not; counts the collective operations."""

    def __init__(self, other: bool) -> None:
        self.other, self.looks = other, 0

    def reduce(self, flag: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        self.looks += 1
        return flag + float(self.other)


def fake_trainer(world_size: int, other: bool = False) -> SimpleNamespace:
    trainer = SimpleNamespace(world_size=world_size, strategy=Strategy(other), saved=[], global_step=0)
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=-1))
    trainer.save_checkpoint = trainer.saved.append
    return trainer


def train(callback: StopOnInterrupt, trainer: SimpleNamespace, steps: int, epoch: int) -> None:
    for step in range(steps):
        trainer.fit_loop.epoch_loop.total_batch_idx = step
        trainer.global_step = step + 1
        callback.on_train_batch_end(trainer, SimpleNamespace(device="cpu"), {}, None, step % epoch)


@pytest.fixture
def callback(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    yield StopOnInterrupt(tmp_path / "last.ckpt", "Go on.")
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, before)


def interrupted(callback: StopOnInterrupt, trainer: SimpleNamespace) -> None:
    callback.on_train_start(trainer, None)
    os.kill(os.getpid(), signal.SIGINT)


def test_one_rank_stops_after_the_step_under_way(callback):
    trainer = fake_trainer(1)
    interrupted(callback, trainer)
    with pytest.raises(Interrupted, match=r"stopped at step 1, saved .*last\.ckpt\. Go on\."):
        train(callback, trainer, steps=5, epoch=5)
    assert trainer.saved == [callback.checkpoint]
    callback.on_exception(trainer, None, Interrupted())


@pytest.mark.parametrize("epoch", [1, 3, 9, 10, 11, 1000])
@pytest.mark.parametrize("mine", [True, False])
def test_two_ranks_stop_together_however_short_the_epochs(callback, epoch, mine):
    trainer = fake_trainer(2, other=not mine)
    if mine:
        interrupted(callback, trainer)
    with pytest.raises(Interrupted, match=f"stopped at step {AGREE_EVERY}, "):
        train(callback, trainer, steps=100, epoch=epoch)
    callback.on_exception(trainer, None, Interrupted())


def test_ranks_look_seldom_and_go_on_if_nobody_was_interrupted(callback):
    trainer = fake_trainer(2)
    callback.on_train_start(trainer, None)
    train(callback, trainer, steps=10 * AGREE_EVERY, epoch=7)
    assert trainer.strategy.looks == 10
    assert not trainer.saved
    callback.on_fit_end(trainer, SimpleNamespace(device="cpu"))


@pytest.mark.parametrize("world_size", [1, 2])
def test_an_interrupt_in_the_last_validation_is_not_lost(callback, world_size):
    trainer = fake_trainer(world_size)
    callback.on_train_start(trainer, None)
    train(callback, trainer, steps=AGREE_EVERY + 3, epoch=AGREE_EVERY + 3)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted, match=f"stopped at step {AGREE_EVERY + 3}, saved"):
        callback.on_fit_end(trainer, SimpleNamespace(device="cpu"))
    assert not trainer.saved, "the last checkpoint is written by then"


def test_second_interrupt_stops_at_once(callback):
    trainer = fake_trainer(1)
    interrupted(callback, trainer)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    callback.on_exception(trainer, None, KeyboardInterrupt())
