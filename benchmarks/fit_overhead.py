"""What ``lit-gen fit`` costs beside a hand-written PyTorch loop over the same tensors, networks and optimizers.

Both sides begin with the same weights on the same machine and take the same number of steps. Ours is the whole of
``fit`` between the first step that counts and the last: loader, hooks, divergence guard, logging to metrics.csv.
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
from torch.nn import functional as F

from benchmarks.harness import Result, compare
from lit_gen.cli.lightning_verbs import LitGenCLI

GOAL = 1.10
WARM_UP = 50
STEPS = 300
BATCH = 128


class StepClock(Callback):
    """Seconds from the end of step ``WARM_UP`` to the end of the last."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        step = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        if step == WARM_UP:
            self.began = time.perf_counter()
        elif step == WARM_UP + STEPS:
            self.seconds = time.perf_counter() - self.began


def build(folder: Path, config: str, *arguments: str) -> LitGenCLI:
    """Model, data and trainer of a config, ready to fit for ``WARM_UP + STEPS`` steps without evaluation."""
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
            f"--trainer.max_steps={WARM_UP + STEPS}",
            "--checkpoint_every_n_steps=100000",
            f"--data.batch_size={BATCH}",
            "--trainer.accelerator=cpu",
            *arguments,
        ],
    )


def fit(prepare: Callable[[], LitGenCLI]) -> float:
    """Our side."""
    with contextlib.redirect_stdout(io.StringIO()):
        cli = prepare()
        clock = StepClock()
        # Last but for checkpoints, so that every callback's work counts.
        cli.trainer.callbacks.append(clock)
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        cli.record.close()
    return clock.seconds


def timed(step: Callable[[torch.Tensor], None], x: torch.Tensor) -> float:
    """The other side: ``step`` on shuffled batches of ``x``, float32."""
    torch.manual_seed(0)
    done, began = 0, 0.0
    while True:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = x[order[start : start + BATCH]]
            step(batch.float().div_(255) if x.dtype == torch.uint8 else batch)
            done += 1
            if done == WARM_UP:
                began = time.perf_counter()
            elif done == WARM_UP + STEPS:
                return time.perf_counter() - began


def vae_by_hand(prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
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

    return timed(step, x)


def gan_by_hand(prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
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

    return timed(step, x)


def results() -> Iterator[Result]:
    """One row a model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = np.random.default_rng(0).integers(0, 256, (20_000, 28, 28), dtype=np.uint8)
        np.save(folder / "images.npy", images)
        data = ["--data=lit_gen.data.ArrayFile", f"--data.path={folder / 'images.npy'}", "--data.image_shape=[1,28,28]"]
        prepare = partial(build, folder, "conf/vaes/vae_mnist.yaml", *data)
        x = torch.from_numpy(images).unsqueeze(1)
        yield compare(
            "fit_overhead_vae",
            partial(fit, prepare),
            partial(vae_by_hand, prepare, x),
            GOAL,
            f"784-200-200-50 VAE, batch {BATCH}, {STEPS} steps a turn",
        )
        prepare = partial(build, folder, "conf/gans/gan_ring.yaml")
        cli = prepare()
        cli.datamodule.setup("fit")
        points = cli.datamodule._arrays.train.x
        yield compare(
            "fit_overhead_gan",
            partial(fit, prepare),
            partial(gan_by_hand, prepare, points),
            GOAL,
            f"MLP GAN on the ring of 8, batch {BATCH}, {STEPS} steps a turn",
        )
