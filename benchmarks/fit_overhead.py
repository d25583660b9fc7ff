"""What ``lit-gen fit`` costs beside a hand-written PyTorch loop over the same tensors, networks and optimizers.

Both sides begin with the same weights on the same machine and take the same number of steps. Ours is the whole of
``fit`` between the first step that counts and the last: loader, hooks, divergence guard, logging to metrics.csv. Both
run on one thread and are measured in CPU seconds: with nothing to wait for that is the time of a quiet machine, and
other processes don't enter into it.
"""

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback
from torch.nn import functional as F

from benchmarks.harness import Result, compare
from lit_gen.cli.lean import ask_cuda_cheaply
from lit_gen.cli.lightning_verbs import LitGenCLI
from lit_gen.cli.run_record import quiet_libraries

GOAL = 1.10
TURNS = 11
BATCH = 128


class Length(NamedTuple):
    """Steps of a turn: those that warm up, and those that count."""

    warm_up: int
    steps: int


SMALL, LARGE = Length(30, 150), Length(2, 10)


class StepClock(Callback):
    """CPU seconds from the end of the warm-up to the end of the last step."""

    def __init__(self, length: Length) -> None:
        self.length = length

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        step = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        if step == self.length.warm_up:
            self.began = time.process_time()
        elif step == sum(self.length):
            self.seconds = time.process_time() - self.began


def build(folder: Path, length: Length, config: str, *arguments: str) -> LitGenCLI:
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
            f"--trainer.max_steps={sum(length)}",
            "--checkpoint_every_n_steps=100000",
            f"--data.batch_size={BATCH}",
            "--trainer.log_every_n_steps=50",
            "--trainer.accelerator=cpu",
            *arguments,
        ],
    )


def fit(length: Length, prepare: Callable[[], LitGenCLI]) -> float:
    """Our side."""
    with contextlib.redirect_stdout(io.StringIO()):
        cli = prepare()
        clock = StepClock(length)
        # Last but for checkpoints, so that every callback's work counts.
        cli.trainer.callbacks.append(clock)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        cli.record.close()
    return clock.seconds


def timed(length: Length, step: Callable[[torch.Tensor], None], x: torch.Tensor) -> float:
    """The other side: ``step`` on shuffled batches of ``x``, float32."""
    torch.manual_seed(0)
    done, began = 0, 0.0
    while True:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = x[order[start : start + BATCH]]
            step(batch.float().div_(255) if x.dtype == torch.uint8 else batch)
            done += 1
            if done == length.warm_up:
                began = time.process_time()
            elif done == sum(length):
                return time.process_time() - began


def vae_by_hand(length: Length, prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
    """A Bernoulli VAE as one would write it in a script, on the config's networks."""
    model = prepare().model.train()
    encoder, decoder = model.encoder, model.decoder
    optimizer = model.optimizer(model.parameters())

    def step(batch: torch.Tensor) -> None:
        mean, log_scale = encoder(batch).unbind(1)
        z = mean + log_scale.exp() * torch.randn_like(mean)
        reconstruction = F.binary_cross_entropy_with_logits(decoder(z), batch, reduction="sum")
        kl = 0.5 * (mean.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum()
        loss = (reconstruction + kl) / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return timed(length, step, x)


def gan_by_hand(length: Length, prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
    """The non-saturating game as one would write it in a script, on the config's networks."""
    model = prepare().model.train()
    generator, discriminator, dim = model.generator, model.discriminator, model.prior.dim
    for_generator = model.generator_optimizer(generator.parameters())
    for_discriminator = model.discriminator_optimizer(discriminator.parameters())
    average = model.generator_average

    def step(batch: torch.Tensor) -> None:
        with torch.no_grad():
            fake = generator(torch.randn(len(batch), dim))
        loss = (F.softplus(-discriminator(batch)) + F.softplus(discriminator(fake))).mean()
        for_discriminator.zero_grad()
        loss.backward()
        for_discriminator.step()
        discriminator.requires_grad_(False)
        loss = F.softplus(-discriminator(generator(torch.randn(len(batch), dim)))).mean()
        for_generator.zero_grad()
        loss.backward()
        for_generator.step()
        discriminator.requires_grad_(True)
        if average is not None:
            average.update_parameters(generator)

    return timed(length, step, x)


def row(name: str, length: Length, prepare: Callable[[], LitGenCLI], by_hand, x: torch.Tensor, detail: str) -> Result:
    """Measure one model."""
    detail = f"{detail}, batch {BATCH}, {length.steps} steps a turn"
    return compare(name, partial(fit, length, prepare), partial(by_hand, length, prepare, x), GOAL, detail, TURNS)


def results() -> Iterator[Result]:
    """One row a model."""
    quiet_libraries()
    ask_cuda_cheaply()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = np.random.default_rng(0).integers(0, 256, (20_000, 28, 28), dtype=np.uint8)
        np.save(folder / "images.npy", images)
        x = torch.from_numpy(images).unsqueeze(1)
        file = ["--data=lit_gen.data.ArrayFile", f"--data.path={folder / 'images.npy'}", "--data.image_shape=[1,28,28]"]
        vae = ["conf/vaes/vae_mnist.yaml", *file, "--data.binarization=none", "--model.scheduler=null"]
        dcgan = ["conf/gans/dcgan_mnist.yaml", *file]
        ring = partial(build, folder, SMALL, "conf/gans/gan_ring.yaml")
        data = ring().datamodule
        points = next(iter(data.train_dataloader())).x.repeat(100, 1)
        yield row("fit_overhead_vae", SMALL, partial(build, folder, SMALL, *vae), vae_by_hand, x, "784-200-200-50 VAE")
        yield row("fit_overhead_dcgan", LARGE, partial(build, folder, LARGE, *dcgan), gan_by_hand, x, "DCGAN, 28x28")
        yield row("fit_overhead_mlp_gan", SMALL, ring, gan_by_hand, points, "GAN of 4-layer MLPs on points")
