import math

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

from lit_gen.models.classifiers.classifier import Classifier
from lit_gen.protocols import Batch

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def batches(x, label, size) -> DataLoader:
    """Batches of this size, the last one partial."""
    return DataLoader([Batch(x[i], label[i], i) for i in torch.arange(len(x)).split(size)], batch_size=None)


def test_an_undecided_network_pays_the_logarithm_of_the_number_of_classes():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 5))
    nn.init.zeros_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    terms = Classifier(network).training_step(Batch(torch.rand(10, 1, 2, 2), torch.arange(10) % 5, torch.arange(10)), 0)
    assert terms["loss"].item() == pytest.approx(math.log(5))
    assert terms["accuracy"].item() == pytest.approx(0.2)  # the first class is predicted
    assert terms["loss"].requires_grad
    assert not terms["accuracy"].requires_grad


def test_learns_digits_and_scores_every_example_once():
    seed_everything(0, verbose=False)
    digits = load_digits()
    x, label = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
    model = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.05),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=28, gamma=0.5),
    )
    trainer = Trainer(max_epochs=3, **QUIET)
    trainer.fit(model, batches(x[:1400], label[:1400], 50))
    assert model.optimizers().param_groups[0]["lr"] == pytest.approx(0.05 / 8)  # 28 batches an epoch
    (figures,) = trainer.test(model, batches(x[1400:], label[1400:], 100), verbose=False)
    right = (model(x[1400:]).argmax(1) == label[1400:]).double().mean().item()
    assert right > 0.85
    assert figures["test/accuracy"] == pytest.approx(right, rel=1e-9)


def test_augments_the_training_batches_alone():
    class Black(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x)

    seen = []

    class Seeing(nn.Module):
        def forward(self, x):
            seen.append(x.sum().item())
            return x.flatten(1)

    model = Classifier(Seeing(), augmentation=Black())
    batch = Batch(torch.ones(2, 1, 2, 2), torch.zeros(2, dtype=torch.long), torch.arange(2))
    model.training_step(batch, 0)
    model.validation_step(batch, 0)
    model.test_step(batch, 0)
    assert seen == [0.0, 8.0, 8.0]
