"""Run as a script, once for each rank: trains small models and saves what each rank saw.

    RANKS=2 LOCAL_RANK=0 MASTER_ADDR=… MASTER_PORT=… python two_rank_games.py OUT     (and LOCAL_RANK=1 beside it)
    RANKS=1 python two_rank_games.py OUT

With one rank the batches are the joint batches. The replayed runs take each row's noise from a table by the row's
place in the data, so that any number of ranks sees the same noise; the others draw as a user's run does.
"""

import os
import sys
from copy import copy
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn
from torch.optim import SGD

from lit_gen.distributed import leave_together
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.autoencoders.autoencoder import Autoencoder
from lit_gen.models.autoregressive.autoregressive_model import AutoregressiveModel
from lit_gen.models.gans.gan import GAN
from lit_gen.models.vaes.factor_vae import FactorVAE
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.autoregressive.made import MADE
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.mlp import MLP
from lit_gen.networks.tied import TransposedMLP
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.reconstruction import CrossEntropy
from lit_gen.objectives.variational import ELBO
from lit_gen.protocols import Batch
from lit_gen.randomness import make_generator
from lit_gen.regularizers.contractive import Contractive
from lit_gen.regularizers.sparsity import KLSparsity, L1Sparsity

DIM, NUM_EXAMPLES, JOINT_BATCH = 3, 48, 12
IMAGE = (1, 16, 16)
FREE_BITS = 0.38
"""Between the KL of some dimension on the joint batch and that on one rank's share of it."""


class NoiseTable:
    """Noise by the step, how often it was asked for in this step, and the row of the data."""

    def __init__(self) -> None:
        self.step, self.asked, self.rows = 0, 0, torch.arange(1)

    def start(self, step: int, rows: Tensor) -> None:
        self.step, self.asked, self.rows = step, 0, rows

    def take(self) -> Tensor:
        self.asked += 1
        table = torch.randn(NUM_EXAMPLES, DIM, generator=make_generator("replay", self.step, self.asked))
        return table[self.rows]


class Noise(nn.Module):
    """Wraps a head or a prior; a subclass says where the noise of its distributions comes from."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    @property
    def dim(self) -> int:
        return self.part.dim

    def noise(self, own: Tensor) -> Tensor:
        """What to take in the place of ``own``, the noise that the distribution drew."""
        raise NotImplementedError

    def forward(self, *args) -> DiagonalNormal:
        distribution = copy(self.part(*args))  # the part may hand out the same one again
        rsample = distribution.rsample

        def draw(*shape):
            own = (rsample(*shape) - distribution.loc) / distribution.scale
            return distribution.loc + distribution.scale * self.noise(own.detach())

        distribution.rsample = draw
        distribution.sample = lambda *shape: draw(*shape).detach()
        return distribution


class Replay(Noise):
    def __init__(self, part: nn.Module, table: NoiseTable) -> None:
        super().__init__(part)
        self.table = table

    def noise(self, own: Tensor) -> Tensor:
        if not self.training:
            return own  # in evaluation it belongs to the example anyway
        value = self.table.take()
        assert value.shape == own.shape
        return value


class Draws(Noise):
    """Keeps what is drawn."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__(part)
        self.kept: list[Tensor] = []

    def noise(self, own: Tensor) -> Tensor:
        self.kept.append(own)
        return own


class Loader:
    """Joint batches, of which rank r of n takes rows r, r + n, r + 2 n …"""

    def __init__(self, x: Tensor, rank: int, num_ranks: int) -> None:
        self.x, self.rank, self.num_ranks = x, rank, num_ranks

    def __len__(self) -> int:
        return NUM_EXAMPLES // JOINT_BATCH

    def __iter__(self):
        for rows in torch.arange(NUM_EXAMPLES).split(JOINT_BATCH):
            own = rows[self.rank :: self.num_ranks]
            yield Batch(self.x[own], None, own)


class Record(Callback):
    """Starts the table of each step and keeps gradients, as optimizers step with them, and draws of noise."""

    def __init__(self, table: NoiseTable) -> None:
        self.table = table
        self.gradients: list[list[Tensor]] = []
        self.evaluated_buffers: list[dict[str, Tensor]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.table.start(trainer.global_step, batch.index)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self.evaluated_buffers.append({name: buffer.clone() for name, buffer in pl_module.named_buffers()})

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.gradients.append([p.grad.clone() for p in parameters])


def vae(posterior: nn.Module, prior: nn.Module, **kwargs) -> VAE:
    encoder = nn.Sequential(MLP(IMAGE, 8, []), BatchNorm1d(8), nn.Tanh(), MLP(8, DIM, [], params_per_output=2))
    decoder = MLP(DIM, IMAGE, [8], nn.Tanh)
    return VAE(encoder, decoder, posterior, BernoulliHead(), prior, optimizer=partial(SGD, lr=0.01), **kwargs)


def factor_vae(posterior: nn.Module) -> FactorVAE:
    networks = MLP(IMAGE, DIM, [8], params_per_output=2), MLP(DIM, IMAGE, [8])
    sgd = {"optimizer": partial(SGD, lr=0.01), "discriminator_optimizer": partial(SGD, lr=0.1)}
    return FactorVAE(*networks, posterior, BernoulliHead(), StandardNormal(DIM), MLP(DIM, (), [8]), **sgd)


def gan(prior: nn.Module, **kwargs) -> GAN:
    parts = {
        "generator": MLP(DIM, 2, [8]),
        "discriminator": MLP(2, (), [8]),
        "generator_optimizer": partial(SGD, lr=0.1),
        "discriminator_optimizer": partial(SGD, lr=0.1),
    }
    return GAN(prior=prior, objective=NonSaturating(), **(parts | kwargs))


def dcgan(prior: nn.Module) -> GAN:
    networks = DCGANGenerator(DIM, IMAGE, base_channels=4), DCGANDiscriminator(IMAGE, base_channels=4)
    sgd = {"generator_optimizer": partial(SGD, lr=0.1), "discriminator_optimizer": partial(SGD, lr=0.1)}
    return GAN(*networks, prior, NonSaturating(), ema_decay=0.8, discriminator_steps=2, **sgd)


def autoencoder() -> Autoencoder:
    """Tied weights under three penalties, one of them of the joint batch."""
    encoder = MLP(IMAGE, DIM, [8], nn.Tanh, output_activation=nn.Sigmoid)
    penalties = [Contractive(1.0), KLSparsity(0.1, 10.0), L1Sparsity(0.1)]
    return Autoencoder(
        encoder, TransposedMLP(), CrossEntropy(), regularizers=penalties, optimizer=partial(SGD, lr=0.01)
    )


def autoregressive() -> AutoregressiveModel:
    """Two orders in turn, and an average of the weights; it draws nothing in training."""
    network = MADE(IMAGE, [16], num_orders=2, random_order=True)
    return AutoregressiveModel(network, BernoulliHead(), ema_decay=0.8, optimizer=partial(SGD, lr=0.01))


def build(case: str, table: NoiseTable) -> Autoencoder | AutoregressiveModel | VAE | GAN:
    torch.manual_seed(0)
    prior = Replay(StandardNormal(DIM), table)
    return {
        "vae": lambda: vae(Replay(NormalHead(), table), prior),
        "vae_free_bits": lambda: vae(Replay(NormalHead(), table), prior, objective=ELBO(free_bits=FREE_BITS)),
        "gan": lambda: gan(prior),
        "gan_clipped_in_micro_batches": lambda: gan(prior, gradient_clip_norm=0.1, num_micro_batches=2),
        "dcgan": lambda: dcgan(prior),
        "gan_norm_by_rank": lambda: gan(
            prior, generator=nn.Sequential(MLP(DIM, 8, []), nn.BatchNorm1d(8), MLP(8, 2, []))
        ),
        "vae_draws": lambda: vae(Draws(NormalHead()), StandardNormal(DIM)),
        "factor_vae_draws": lambda: factor_vae(Draws(NormalHead())),
        "autoencoder": autoencoder,
        "autoregressive": autoregressive,
        "gan_draws": lambda: gan(Draws(StandardNormal(DIM))),
    }[case]()


CASES = (
    "vae",
    "vae_free_bits",
    "gan",
    "gan_clipped_in_micro_batches",
    "dcgan",
    "gan_norm_by_rank",
    "vae_draws",
    "factor_vae_draws",
    "gan_draws",
    "autoencoder",
    "autoregressive",
)


def run(case: str, rank: int, num_ranks: int, out: Path) -> None:
    seed_everything(3, workers=True, verbose=False)
    table = NoiseTable()
    model, record = build(case, table), Record(table)
    shape = (2,) if "gan" in case and "dcgan" not in case else IMAGE
    x = torch.rand(NUM_EXAMPLES, *shape, generator=torch.Generator().manual_seed(1))
    if case == "autoregressive":
        x = x.round()
    trainer = Trainer(
        accelerator="cpu",
        devices=num_ranks,
        strategy="ddp" if num_ranks > 1 else "auto",
        use_distributed_sampler=False,
        max_steps=6,
        callbacks=[record],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    loader = Loader(x, rank, num_ranks)
    trainer.fit(model, loader, None if "draws" in case else loader)
    assert trainer.global_step == 6
    part = getattr(model, "posterior" if "vae" in case else "prior", None)
    content = {
        "gradients": record.gradients,
        "state": model.state_dict(),
        "evaluated_buffers": record.evaluated_buffers,
        "draws": getattr(part, "kept", []),
        "metrics": {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")},
    }
    torch.save(content, out / f"{case}_{rank}_of_{num_ranks}.pt")


if __name__ == "__main__":
    for name in CASES:
        run(name, int(os.environ.get("LOCAL_RANK", 0)), int(os.environ["RANKS"]), Path(sys.argv[1]))
    leave_together()
