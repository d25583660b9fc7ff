"""What ``lit-gen fit`` costs beside a hand-written PyTorch loop over the same tensors, networks and optimizers.

Both sides begin with the same weights on the same machine and take the same number of steps. Ours is the whole of
``fit`` between the first step that counts and the last: loader, hooks, divergence guard, logging to metrics.csv.

Each model, and each game of ``benchmarks.game_steps``, has two rows: in wall-clock seconds with torch's own number of
threads, which is what a person waits for, and (``_cpu``) in CPU seconds of one thread, which other processes on the
machine disturb less.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import game_steps
from benchmarks.fitting import BATCH, GOAL, Turn, build, fit, timed
from benchmarks.harness import Result, compare
from lit_gen.cli.lean import ask_cuda_cheaply
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.run_record import quiet_libraries
from lit_gen.freed_memory import keep_freed_memory

TURNS = 15
SMALL, MEDIUM, LARGE = Turn(30, 300), Turn(10, 60), Turn(2, 10)


def vae_by_hand(turn: Turn, prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
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

    return timed(turn, step, x)


def iwae_by_hand(turn: Turn, prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
    """An importance weighted autoencoder of five samples as one would write it in a script."""
    model = prepare().model.train()
    encoder, decoder, k = model.encoder, model.decoder, 5
    optimizer = model.optimizer(model.parameters())

    def step(batch: torch.Tensor) -> None:
        mean, log_scale = encoder(batch).unbind(1)
        noise = torch.randn(k, *mean.shape)
        z = mean + log_scale.exp() * noise
        logits = decoder(z.flatten(0, 1)).flatten(1)
        targets = batch.flatten(1).repeat(k, 1)
        log_px_z = -F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1).view(k, -1)
        log_weights = log_px_z + (0.5 * noise.square() + log_scale - 0.5 * z.square()).sum(-1)
        loss = math.log(k) - log_weights.logsumexp(0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return timed(turn, step, x)


def gan_by_hand(turn: Turn, prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
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

    return timed(turn, step, x)


def rbm_by_hand(turn: Turn, prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
    """Contrastive divergence of one step as one would write it in a script: the gradient by its formula."""
    model = prepare().model
    weight, visible_bias, hidden_bias = model.weight, model.visible.bias, model.hidden.bias
    (optimizer,), _ = model.configure_optimizers()

    @torch.no_grad()
    def step(batch: torch.Tensor) -> None:
        v = batch.flatten(1)
        p = torch.sigmoid(v @ weight.T + hidden_bias)
        h = (torch.rand_like(p) < p).float()
        q = torch.sigmoid(h @ weight + visible_bias)
        v_model = (torch.rand_like(q) < q).float()
        p_model = torch.sigmoid(v_model @ weight.T + hidden_bias)
        weight.grad = (p_model.T @ v_model - p.T @ v) / len(v)
        visible_bias.grad = (v_model - v).mean(0)
        hidden_bias.grad = (p_model - p).mean(0)
        optimizer.step()

    return timed(turn, step, x)


def pixelcnn_by_hand(turn: Turn, prepare: Callable[[], LitGenCLI], x: torch.Tensor) -> float:
    """Maximum likelihood of binary pixels as one would write it in a script, on the config's network."""
    model = prepare().model.train()
    network = model.network
    optimizer = model.optimizer(network.parameters())

    def step(batch: torch.Tensor) -> None:
        logits = network(batch).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum") / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return timed(turn, step, x)


class Claim(NamedTuple):
    """One model: how long its turns are, its config, and its other side with what that trains on."""

    model: str
    turn: Turn
    words: list[str]
    by_hand: Callable[[Turn, Callable[[], LitGenCLI], torch.Tensor], float]
    x: torch.Tensor


def array_file(folder: Path, name: str, images: np.ndarray) -> list[str]:
    """Arguments that train on these images, (N, H, W) uint8."""
    path = folder / f"{name}.npy"
    np.save(path, images)
    shape = f"[1,{images.shape[1]},{images.shape[2]}]"
    data = ["--data=lit_gen.data.ArrayFile", f"--data.path={path}", f"--data.image_shape={shape}"]
    return [*data, "--data.binarization=none"]


def claims(folder: Path) -> Iterator[Claim]:
    """The models, on images and points that are made up."""
    images = np.random.default_rng(0).integers(0, 256, (20_000, 28, 28), dtype=np.uint8)
    binary = (images[:, 10:18, 10:18] > 127).astype(np.uint8) * 255
    file = array_file(folder, "images", images)
    x, x_binary = (torch.from_numpy(part).unsqueeze(1) for part in (images, binary))
    vae = ["conf/vaes/vae_mnist.yaml", *file, "--model.scheduler=null"]
    yield Claim("vae", SMALL, vae, vae_by_hand, x)
    iwae = [*vae, "--model.objective=lit_gen.objectives.ImportanceWeighted", "--model.objective.num_samples=5"]
    yield Claim("iwae", MEDIUM, iwae, iwae_by_hand, x)
    yield Claim("conv_vae", LARGE, ["conf/vaes/vae_conv_mnist.yaml", *file, "--model.beta=1.0"], vae_by_hand, x)
    yield Claim("dcgan", LARGE, ["conf/gans/dcgan_mnist.yaml", *file], gan_by_hand, x)
    ring = ["conf/gans/gan_ring.yaml"]
    points = next(iter(build(folder, SMALL, *ring).datamodule.train_dataloader())).x.repeat(100, 1)
    yield Claim("mlp_gan", SMALL, ring, gan_by_hand, points)
    cd = ["--model.num_chains=null", "--model.scheduler=null", "--model.optimizer.momentum=0.9"]
    yield Claim("rbm", MEDIUM, ["conf/energy/rbm_mnist.yaml", *file, *cd], rbm_by_hand, x)
    pixelcnn = ["conf/autoregressive/gated_pixelcnn_digits.yaml", *array_file(folder, "binary", binary)]
    yield Claim("pixelcnn", MEDIUM, [*pixelcnn, "--model.scheduler=null"], pixelcnn_by_hand, x_binary)


def measured(claim: Claim, folder: Path, suffix: str, clock: Callable[[], float]) -> Result:
    """One row."""
    turn = claim.turn._replace(clock=clock)
    prepare = partial(build, folder, turn, *claim.words)
    ours, by_hand = partial(fit, turn, prepare), partial(claim.by_hand, turn, prepare, claim.x)
    detail = f"{claim.words[0]}, {torch.get_num_threads()} threads, batch {BATCH}, {turn.steps} steps a turn"
    return compare(f"fit_overhead_{claim.model}{suffix}", ours, by_hand, GOAL, detail, TURNS)


def results() -> Iterator[Result]:
    """Two rows a model, and for each game."""
    quiet_libraries()
    ask_cuda_cheaply()
    keep_freed_memory()
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        for suffix, clock, num_threads in (("", time.perf_counter, threads), ("_cpu", time.process_time, 1)):
            torch.set_num_threads(num_threads)
            for claim in claims(Path(name)):
                yield measured(claim, Path(name), suffix, clock)
            yield from game_steps.times(Path(name), suffix, clock)
        torch.set_num_threads(threads)
