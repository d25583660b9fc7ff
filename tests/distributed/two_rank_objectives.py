"""Run as a script, once for each rank: a game of three batches for every objective, regularizer and aid.

    RANKS=2 LOCAL_RANK=0 MASTER_ADDR=… MASTER_PORT=… python two_rank_objectives.py OUT     (and LOCAL_RANK=1 beside it)
    RANKS=1 python two_rank_objectives.py OUT

All noise is replayed by the row of the data, as in ``two_rank_games``.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.optim import SGD, Adam
from two_rank_games import DIM, JOINT_BATCH, NUM_EXAMPLES, Loader, NoiseTable, Record, Replay

from lit_gen import objectives
from lit_gen.distributed import leave_together
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.gans.gan import GAN
from lit_gen.models.gans.unrolled_gan import UnrolledGAN
from lit_gen.networks.instance_noise import InstanceNoise
from lit_gen.networks.layers.minibatch import MinibatchDiscrimination, MinibatchStandardDeviation
from lit_gen.networks.layers.reference_norm import ReferenceBatchNorm, VirtualBatchNorm
from lit_gen.networks.mlp import MLP
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.networks.packed import Packed
from lit_gen.networks.reference import ReferenceBatch
from lit_gen.networks.spectral_norm import SpectralNorm
from lit_gen.objectives.adversarial.base import AdversarialObjective
from lit_gen.objectives.adversarial.divergences import Divergence
from lit_gen.protocols import Batch
from lit_gen.randomness import make_generator
from lit_gen.regularizers import adversarial as regularizers
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer


class Critic(nn.Module):
    """Scores read off features; by ``reconstruct`` it calls itself an autoencoder, its scores squares then."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = MLP(2, 5, [8], nn.Tanh), MLP(5, (), [])

    def features(self, x):
        return self.trunk(x)

    def from_features(self, features):
        return self.head(features)

    def forward(self, x):
        return self.from_features(self.features(x))


class Energy(Critic):
    def reconstruct(self, x):
        return x

    def from_features(self, features):
        return self.head(features).square()


def members(room, base: type) -> list[type]:
    return [member for member in vars(room).values() if isinstance(member, type) and issubclass(member, base)]


def parts_of_regularizer(member: type) -> list[AdversarialRegularizer]:
    if member is regularizers.HistoricalAveraging:
        return [member("generator"), member("discriminator", weight=0.5)]
    return [member()]


def cases() -> dict[str, Callable[..., GAN]]:
    """Makes a game of a prior, by name."""
    found: dict[str, Callable[..., GAN]] = {}
    for member in members(objectives, AdversarialObjective):
        if member is objectives.FDivergence:
            for divergence in members(objectives, Divergence):
                one = divergence(0.5) if divergence is objectives.Alpha else divergence()
                found[f"FDivergence-{divergence.__name__}"] = partial(GAN, objective=member(one))
        else:
            found[member.__name__] = partial(GAN, objective=member())
    for member in members(regularizers, AdversarialRegularizer):
        terms = partial(parts_of_regularizer, member)
        found[member.__name__] = lambda terms=terms, **parts: GAN(
            objective=objectives.RelativisticPaired(), regularizers=terms(), **parts
        )
    found["Unrolled"] = lambda **parts: UnrolledGAN(
        objective=objectives.NonSaturating(), unrolled_steps=2, regularizers=[regularizers.R1()], **parts
    )
    for name in NETWORKS:
        found.setdefault(name, partial(GAN, objective=objectives.NonSaturating()))
    return found


UNBIASED = partial(nn.Linear, bias=False)
"""A shift before a norm has no gradient but rounding, which Adam makes steps of."""

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "EnergyBased": Energy,
    "BoundaryEquilibrium": Energy,
    "MinibatchDiscrimination": lambda: MLPDiscriminator(2, [8], minibatch=MinibatchDiscrimination),
    "MinibatchStandardDeviation": lambda: MLPDiscriminator(2, [8], minibatch=MinibatchStandardDeviation),
    "VirtualBatchNorm": lambda: ReferenceBatch(
        MLPDiscriminator(2, [8], linear=UNBIASED, norm=VirtualBatchNorm), num_reference=6
    ),
    "ReferenceBatchNorm": lambda: ReferenceBatch(
        MLPDiscriminator(2, [8], linear=UNBIASED, norm=ReferenceBatchNorm), num_reference=6
    ),
    "SpectralNorm": lambda: SpectralNorm(MLPDiscriminator(2, [8])),
    "InstanceNoise": lambda: ReplayedNoise(MLPDiscriminator(2, [8])),
    "Packed": lambda: Packed(MLP(4, (), [8]), num_packed=2),
}
"""Discriminators other than ``Critic``, by the case that plays with them."""


class ReplayedNoise(InstanceNoise):
    """Noise by the row of the data, whether real or generated."""

    table: NoiseTable

    def enter(self, x):
        noise = torch.randn(NUM_EXAMPLES, 2, generator=make_generator("instance noise", self.table.step))
        return x + self.std * noise[self.table.rows] if self.training else x


class InHalves(Loader):
    """Rank r of n takes the r-th n-th of each joint batch, as packs of neighbours need."""

    def __iter__(self):
        for rows in torch.arange(NUM_EXAMPLES).split(JOINT_BATCH):
            own = rows.chunk(self.num_ranks)[self.rank]
            yield Batch(self.x[own], None, own)


class Reference(LightningDataModule):
    """A data module that a reference batch can be taken from."""

    event_shape = (2,)
    batch_size = JOINT_BATCH

    def __init__(self, x: Tensor, rank: int, num_ranks: int) -> None:
        super().__init__()
        self.loader = Loader(x, rank, num_ranks)

    def num_examples(self, split: str) -> int:
        return NUM_EXAMPLES

    def train_dataloader(self) -> Loader:
        return self.loader


def replayed(noise: Callable, number: int, table: NoiseTable, real: Tensor) -> tuple[Tensor, ...]:
    """A regularizer's own ``noise``, of uniform numbers by the row of the data."""
    draw, rand = make_generator("penalty", number, table.step), torch.rand

    def uniform(num: int, *shape: int, **options: object) -> Tensor:
        return rand(NUM_EXAMPLES, *shape, generator=draw)[table.rows]

    with patch.multiple(torch, rand=uniform, rand_like=lambda x: uniform(*x.shape)):
        return noise(real)


def game(name: str, table: NoiseTable) -> GAN:
    torch.manual_seed(0)
    make = cases()[name]
    discriminator = NETWORKS.get(name, Critic)()
    if isinstance(discriminator, ReplayedNoise):
        discriminator.table = table
    model = make(
        generator=MLP(DIM, 2, [8]),
        discriminator=discriminator,
        prior=Replay(StandardNormal(DIM), table),
        generator_optimizer=partial(SGD, lr=0.05),
        discriminator_optimizer=partial(Adam, lr=0.01),
    )
    for number, regularizer in enumerate(model.regularizers):
        regularizer.noise = partial(replayed, regularizer.noise, number, table)
    return model


def run(name: str, rank: int, num_ranks: int, out: Path) -> None:
    seed_everything(3, workers=True, verbose=False)
    table = NoiseTable()
    model, record = game(name, table), Record(table)
    x = torch.rand(NUM_EXAMPLES, 2, generator=torch.Generator().manual_seed(1))
    trainer = Trainer(
        accelerator="cpu",
        devices=num_ranks,
        strategy="ddp" if num_ranks > 1 else "auto",
        use_distributed_sampler=False,
        max_steps=3,
        callbacks=[record],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    if isinstance(model.discriminator, ReferenceBatch):
        trainer.fit(model, datamodule=Reference(x, rank, num_ranks))
    else:
        trainer.fit(model, (InHalves if name == "Packed" else Loader)(x, rank, num_ranks))
    content = {"gradients": record.gradients, "state": model.state_dict()}
    torch.save(content, out / f"{name}_{rank}_of_{num_ranks}.pt")


if __name__ == "__main__":
    for case in cases():
        run(case, int(os.environ.get("LOCAL_RANK", 0)), int(os.environ["RANKS"]), Path(sys.argv[1]))
    leave_together()
