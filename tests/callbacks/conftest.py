"""A small model, small data and a quiet trainer to hang callbacks on."""

from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn

from lit_gen.models.base import GenerativeModel
from lit_gen.protocols import Batch


class Prior(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self):
        return torch.distributions.Independent(torch.distributions.Normal(torch.zeros(self.dim), 1.0), 1)


class LinearModel(GenerativeModel):
    """A linear code for 4 x 4 images (or points, whose decoder is the identity's neighbour)."""

    progress_bar_terms = ("loss",)

    def __init__(self, event_shape: tuple[int, ...] = (1, 4, 4), dim: int = 2) -> None:
        super().__init__()
        size = torch.Size(event_shape).numel()
        self.event_shape = event_shape
        self.prior = Prior(dim)
        self.encoder = nn.Linear(size, dim)
        self.decoder = nn.Linear(dim, size)
        self.dropout = nn.Dropout(0.5)

    def encode(self, x):
        return self.encoder(self.dropout(x.flatten(1)))

    def decode(self, z):
        out = self.decoder(z).view(-1, *self.event_shape)
        return out.sigmoid() if len(self.event_shape) == 3 else out

    def sample(self, num_samples):
        return self.decode(self.prior().sample((num_samples,)))

    def prior_quantile(self, probability):
        return torch.distributions.Normal(0.0, 1.0).icdf(probability)

    def training_step(self, batch, batch_idx):
        code = self.encode(batch.x) + 0.1 * torch.randn(len(batch.x), self.prior.dim)
        distance = (self.decode(code) - batch.x).square().flatten(1).sum(1).mean()
        size = code.square().sum(1).mean()
        return {"loss": distance + 0.01 * size, "distance": distance.detach(), "size": size.detach()}

    def validation_step(self, batch, batch_idx):
        return {"distance": (self.decode(self.encode(batch.x)) - batch.x).square().flatten(1).sum(1)}

    def test_step(self, batch, batch_idx):
        return self.validation_step(batch, batch_idx)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class Batches:
    """A loader; of a plain list Lightning would think that it is a list of loaders."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


class SmallData(LightningDataModule):
    """``num`` random examples in every split, in order."""

    num_classes = 3

    def __init__(self, event_shape: tuple[int, ...] = (1, 4, 4), num: int = 24, batch_size: int = 8) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.x = torch.rand(num, *event_shape, generator=torch.Generator().manual_seed(0))
        self.label = torch.arange(num) % self.num_classes
        self.batch_size = batch_size
        self.has_labels = True

    def _batches(self):
        index = torch.arange(len(self.x))
        parts = index.split(self.batch_size)
        return Batches([Batch(self.x[part], self.label[part] if self.has_labels else None, part) for part in parts])

    def train_dataloader(self):
        return self._batches()

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader

    def reference_loader(self, split):
        return self._batches()


class LabelledData(SmallData):
    """Examples that are brighter the higher their class, with 60 others to train on."""

    def __init__(self, event_shape: tuple[int, ...] = (1, 4, 4)) -> None:
        super().__init__(event_shape)
        self.train = SmallData(event_shape, num=60)
        self.train.x = torch.rand(60, *event_shape, generator=torch.Generator().manual_seed(1))
        for part in (self, self.train):
            part.x += part.label.view(-1, *[1] * len(event_shape)) / 10
            part.x /= part.x.max()

    def num_examples(self, split: str) -> int:
        return len(self._split(split).x)

    def reference_loader(self, split: str) -> Batches:
        return self._split(split)._batches()

    def _split(self, split: str) -> SmallData:
        return self.train if split == "train" else self


@pytest.fixture
def labelled_data() -> type[LabelledData]:
    return LabelledData


@pytest.fixture
def linear_model() -> type[LinearModel]:
    return LinearModel


@pytest.fixture
def small_data() -> type[SmallData]:
    return SmallData


@pytest.fixture
def make_trainer(tmp_path) -> Callable[..., Trainer]:
    def make(*callbacks, **options) -> Trainer:
        defaults = {
            "accelerator": "cpu",
            "max_epochs": 2,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "default_root_dir": tmp_path,
        }
        return Trainer(callbacks=list(callbacks), **{**defaults, **options})

    return make
