"""Every figure and picture of a game together, on the CPU and, where there is one, on an accelerator."""

from functools import partial

import pytest
import torch

from lit_gen.callbacks import (
    CollapseAlarm,
    DiscriminatorConfidence,
    DiscriminatorSurface,
    GradientNorms,
    ModeCoverage,
    NearestTraining,
    PrecisionRecall,
    SampleStrip,
    StackedModeCoverage,
)
from lit_gen.data.toy import GaussianMixture, Ring
from lit_gen.distributions.priors import StandardNormal
from lit_gen.metrics.features.lenet import LeNet
from lit_gen.models.gans.gan import GAN
from lit_gen.networks.mlp import MLP
from lit_gen.objectives import NonSaturating
from tests.callbacks.drawing import Draws

SMALL = {"num_train": 400, "num_validation": 210, "num_test": 50, "batch_size": 50}
GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator"))
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]
LINE = partial(GaussianMixture, [[0.0], [3.0]], 0.5, event_shape=(1,))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make_data", [Ring, LINE], ids=["plane", "line"])
def test_points(make_trainer, make_data, device, tmp_path):
    data = make_data(**SMALL)
    networks = [MLP(2, data.event_shape, [16]), MLP(data.event_shape, [], [16])]
    adam = partial(torch.optim.Adam, lr=1e-3)
    model = GAN(*networks, StandardNormal(2), NonSaturating(), None, adam, adam)
    callbacks = [
        GradientNorms(),
        CollapseAlarm(every_n_steps=4, start_step=0, num_samples=200),
        ModeCoverage(100, batch_size=40),
        PrecisionRecall(num_samples=100),
        NearestTraining(100),
        DiscriminatorConfidence(),
        DiscriminatorSurface(),
        SampleStrip([0, 5]),
    ]
    trainer = make_trainer(*callbacks, accelerator=device, devices=1)
    trainer.fit(model, data)
    assert model.device.type == device
    logged = set(trainer.callback_metrics)
    assert {"train/gradient_norm_generator", "train/collapse", "val/modes_100", "val/discriminator_accuracy"} <= logged
    (figures,) = trainer.test(model, data, verbose=False)
    assert {"test/collapse", "test/recall_data_k3_100", "test/nearest_training_ratio_data_100"} <= set(figures)
    assert len(list((tmp_path / "samples").iterdir())) >= 5


@pytest.mark.parametrize("device", DEVICES)
def test_images(make_trainer, small_data, device, tmp_path):
    data = small_data((3, 8, 8))
    data.num_examples = lambda split: 24
    callbacks = [StackedModeCoverage(60), PrecisionRecall(LeNet(), 20), NearestTraining(20, LeNet(), 3)]
    trainer = make_trainer(*callbacks, accelerator=device, devices=1)
    model = Draws(lambda num: torch.rand(num, 3, 8, 8, device=device))
    trainer.fit(model, data)
    (figures,) = trainer.test(model, data, verbose=False)
    assert {"test/modes_60", "test/recall_lenet_k3_20", "test/nearest_training_ratio_lenet_20"} <= set(figures)
    assert (tmp_path / "samples").is_dir()
