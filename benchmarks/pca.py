"""One pass of ``fit`` over 60,000 x 784 against scikit-learn's PCA of the same array, in time, and the pass's memory.

Ours is an epoch of ``lit-gen fit`` with ``conf/autoencoders/pca_mnist.yaml``, from ``on_train_start`` to the epoch's
end: drawing the shuffled order, gathering batches of bytes and making floats of them, hooks, sums, eigenvectors.
Theirs is ``PCA.fit`` alone, by the fastest of its exact solvers, on a float32 array that lies ready in memory, which it
multiplies in float32. Ours sums batches in float64: the detail says how far both are from the result in float64.

The images are MNIST's training images where LIT_GEN_DATA has them, and otherwise noise of rank 100 of the same size.
"""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from benchmarks.harness import Result, compare, summarise
from benchmarks.memory import PeakBytes
from lit_gen.cli.lean import ask_cuda_cheaply
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.run_record import quiet_libraries
from lit_gen.data.mnist import MNIST
from lit_gen.errors import UserError

CONFIG = "conf/autoencoders/pca_mnist.yaml"
NUM_COMPONENTS = 30
NUM_EXAMPLES = 60_000
EXACT_SOLVERS = ("covariance_eigh", "full", "arpack")
GOAL = 2.0
TURNS = 5


class PassClock(Callback):
    """Seconds from the start of training to the end of the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    def on_train_start(self, trainer, pl_module) -> None:
        self.began = self.clock()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.seconds = self.clock() - self.began


def images() -> tuple[np.ndarray, str]:
    """(60,000, 28, 28) uint8, and what they are."""
    try:
        return MNIST(download=False).read().train.x[:, 0].numpy(), "MNIST"
    except UserError:
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(NUM_EXAMPLES, 100)) @ rng.normal(size=(100, 784))
        return (noise * 4 + 128).clip(0, 255).astype(np.uint8).reshape(-1, 28, 28), "synthetic noise of rank 100"


def build(folder: Path, file: Path) -> LitGenCLI:
    """Model, data and trainer, with nothing but the pass to do."""
    arguments = [
        "--data=lit_gen.data.ArrayFile",
        f"--data.path={file}",
        "--data.image_shape=[1,28,28]",
        "--data.num_validation=0",
        f"--data.test_path={file}",
        "--data.batch_size=1000",
        f"--model.num_components={NUM_COMPONENTS}",
        f"--runs={folder}",
        "--wandb=false",
        "--trainer.callbacks=[]",
        "--trainer.accelerator=cpu",
        "--checkpoint_every_n_steps=100000",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        cli = LitGenCLI("fit", ["--config", CONFIG, *arguments])
    cli.datamodule.setup("fit")
    return cli


def fit(folder: Path, file: Path, clock: Callable[[], float]) -> float:
    """Our side."""
    cli = build(folder, file)
    watch = PassClock(clock)
    cli.trainer.callbacks.append(watch)
    with contextlib.redirect_stdout(io.StringIO()):
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    cli.record.close()
    return watch.seconds


def fit_scikit_learn(x: np.ndarray, solver: str, clock: Callable[[], float]) -> float:
    """The other side."""
    began = clock()
    PCA(NUM_COMPONENTS, svd_solver=solver).fit(x)
    return clock() - began


def deviations(folder: Path, file: Path, x: np.ndarray, solver: str) -> str:
    """How far each side's components are from those in float64."""
    cli = build(folder, file)
    with contextlib.redirect_stdout(io.StringIO()):
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    cli.record.close()
    exact = PCA(NUM_COMPONENTS, svd_solver="covariance_eigh").fit(x.astype(np.float64)).components_
    theirs = PCA(NUM_COMPONENTS, svd_solver=solver).fit(x).components_
    ours = cli.model.components.numpy()
    off, their_off = (np.abs(found - exact).max() for found in (ours, theirs))
    return f"components off by {off:.0e} (theirs by {their_off:.0e})"


def peak_of_pass(folder: Path, file: Path) -> int:
    """Bytes in live tensors that the pass brings forth, at their peak."""
    cli = build(folder, file)
    with contextlib.redirect_stdout(io.StringIO()), PeakBytes() as bytes_:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    cli.record.close()
    return bytes_.peak


def results() -> Iterator[Result]:
    """Wall seconds with torch's own number of threads, CPU seconds with one, and memory."""
    quiet_libraries()
    ask_cuda_cheaply()
    threads = torch.get_num_threads()
    pixels, name = images()
    x = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        file, tenth = folder / "all.npy", folder / "tenth.npy"
        np.save(file, pixels)
        np.save(tenth, pixels[: len(pixels) // 10])
        with threadpool_limits(1):
            seconds = {solver: fit_scikit_learn(x, solver, time.process_time) for solver in EXACT_SOLVERS}
        solver = min(seconds, key=seconds.get)
        told = ", ".join(f"{solver} {value:.1f} s" for solver, value in seconds.items())
        detail = f"{name}, {len(x):,} x {x.shape[1]}; scikit-learn's {solver} ({told} of CPU); "
        detail += deviations(folder, file, x, solver)
        for suffix, clock, num_threads in (("", time.perf_counter, threads), ("_cpu", time.process_time, 1)):
            torch.set_num_threads(num_threads)
            with threadpool_limits(num_threads):
                yield compare(
                    f"pca_60k_by_784{suffix}",
                    partial(fit, folder, file, clock),
                    partial(fit_scikit_learn, x, solver, clock),
                    GOAL,
                    f"{detail}; {num_threads} threads",
                    TURNS,
                )
        torch.set_num_threads(threads)
        ratio = peak_of_pass(folder, file) / peak_of_pass(folder, tenth)
        yield summarise("memory_pca_6k_to_60k", [ratio], 1.05, "peak bytes in live tensors born in fit, batch 1,000")
