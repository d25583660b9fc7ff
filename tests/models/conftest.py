"""Small stand-ins: a loader over tensors, a quiet trainer, tiny members of each model."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import nn

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.gans.gan import GAN
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.protocols import Batch


class Loader:
    """Whole batches of a tensor, in order."""

    def __init__(self, x, batch_size):
        self.x, self.batch_size = x, batch_size

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __iter__(self):
        index = torch.arange(len(self.x))
        for x, i in zip(self.x.split(self.batch_size), index.split(self.batch_size), strict=True):
            yield Batch(x, None, i)


class TensorData(LightningDataModule):
    def __init__(self, x, batch_size):
        super().__init__()
        self.loader = Loader(x, batch_size)
        self.event_shape = tuple(x.shape[1:])

    def train_dataloader(self):
        return self.loader

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class Gradients(Callback):
    """Keeps a copy of the gradients that each optimizer steps with: [(optimizer index, [tensors]), ...]."""

    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        optimizer = getattr(optimizer, "optimizer", optimizer)
        index = next(i for i, own in enumerate(trainer.optimizers) if own is optimizer)
        gradients = [p.grad.clone() for group in optimizer.param_groups for p in group["params"]]
        self.steps.append((index, gradients))


def make_trainer(tmp_path, **kwargs):
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any("ModelCheckpoint" in type(c).__name__ for c in kwargs.get("callbacks", [])),
        "default_root_dir": tmp_path,
        "log_every_n_steps": 1,
    }
    return Trainer(**(quiet | kwargs))


def make_vae(event_shape=(1, 4, 4), dim=3, seed=0, **kwargs):
    torch.manual_seed(seed)
    parts = {
        "encoder": MLP(event_shape, dim, [8], nn.Tanh, params_per_output=2),
        "decoder": MLP(dim, event_shape, [8], nn.Tanh),
        "posterior": NormalHead(),
        "likelihood": BernoulliHead(),
        "prior": StandardNormal(dim),
    }
    return VAE(**(parts | kwargs))


def make_gan(event_shape=(2,), dim=3, seed=0, **kwargs):
    torch.manual_seed(seed)
    parts = {
        "generator": MLP(dim, event_shape, [8]),
        "discriminator": MLP(event_shape, (), [8]),
        "prior": StandardNormal(dim),
        "objective": NonSaturating(),
    }
    return GAN(**(parts | kwargs))


@pytest.fixture
def tiny(tmp_path):
    return SimpleNamespace(
        Loader=Loader,
        TensorData=TensorData,
        Gradients=Gradients,
        vae=make_vae,
        gan=make_gan,
        trainer=lambda **kwargs: make_trainer(tmp_path, **kwargs),
    )
