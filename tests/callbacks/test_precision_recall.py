"""The callback of precision and recall, on models that draw from a known density, or a part of it."""

import pytest
import torch

from lit_gen.callbacks.precision_recall import PrecisionRecall
from lit_gen.data.digits import Digits
from lit_gen.data.toy import Grid
from lit_gen.errors import UserError
from lit_gen.metrics.features.lenet import LeNet
from lit_gen.metrics.precision_recall import precision_recall
from tests.callbacks.drawing import Draws

SMALL = {"num_train": 600, "num_validation": 300, "num_test": 32, "batch_size": 100}


def short(figures, callback):
    return {name.removeprefix("test/").split("_")[0]: figures[name] for name in callback.protocols}


def test_draws_of_the_density_and_of_a_part(make_trainer):
    grid = Grid(**SMALL)
    callback = PrecisionRecall(num_samples=600, batch_size=250)
    (figures,) = make_trainer(callback).test(Draws(grid.sample), grid, verbose=False)
    whole = short(figures, callback)
    assert set(callback.protocols) == {
        "test/precision_data_k3_600",
        "test/recall_data_k3_600",
        "test/density_data_k5_600",
        "test/coverage_data_k5_600",
    }
    assert whole["density"] == pytest.approx(1, abs=0.1) and whole["coverage"] == pytest.approx(1 - 2**-5, abs=0.05)
    assert whole["precision"] > 0.8 and whole["recall"] > 0.8
    model = Draws(lambda num: grid.modes[:1] + 0.05 * torch.randn(num, 2))
    (figures,) = make_trainer(callback).test(model, grid, verbose=False)
    part = short(figures, callback)
    assert part["precision"] > 0.8 and part["recall"] < 0.1 and part["coverage"] < 0.1
    assert "600 train examples" in callback.protocols["test/recall_data_k3_600"]


def test_the_figures_are_those_of_the_metric(make_trainer):
    grid = Grid(**SMALL)
    fixed = grid.sample(200, torch.Generator().manual_seed(7))
    callback = PrecisionRecall(num_samples=200, batch_size=200, reference="val", num_neighbours=2, density_neighbours=4)
    (figures,) = make_trainer(callback).test(Draws(lambda num: fixed), grid, verbose=False)
    x = torch.cat([batch.x for batch in grid.reference_loader("val")])
    chosen = [n for n in range(300) if (n + 1) * 200 // 300 > n * 200 // 300]
    expected = precision_recall(x[chosen], fixed, 2, 4)
    assert short(figures, callback) == pytest.approx(expected._asdict(), abs=1e-6)


def test_features_of_images(make_trainer):
    data = Digits()
    x = torch.cat([batch.x for batch in data.reference_loader("train")])
    callback = PrecisionRecall(LeNet(), num_samples=300, reference="test")
    (figures,) = make_trainer(callback).test(Draws(lambda num: x[torch.randperm(len(x))[:num]]), data, verbose=False)
    real = short(figures, callback)
    assert "test/precision_lenet_k3_300" in figures and real["precision"] > 0.6 and real["recall"] > 0.6
    (figures,) = make_trainer(callback).test(
        Draws(lambda num: x[:9].repeat(num // 9 + 1, 1, 1, 1)[:num]), data, verbose=False
    )
    few = short(figures, callback)
    assert few["precision"] > 0.6 and few["recall"] < 0.2


def test_what_is_refused(make_trainer):
    for kwargs, match in (
        ({"num_neighbours": 0}, "neighbours"),
        ({"num_samples": 5}, "1 to num_samples - 1"),
        ({"reference": "all"}, "'all'"),
    ):
        with pytest.raises(UserError, match=match):
            PrecisionRecall(**kwargs)
    grid = Grid(**SMALL)
    for callback, data, match in (
        (PrecisionRecall(LeNet()), grid, "extractor: null"),
        (PrecisionRecall(reference="val"), Grid(**SMALL | {"num_validation": 0}), "set data.num_validation"),
        (PrecisionRecall(reference="val"), Grid(**SMALL | {"num_validation": 5}), "fewer than its neighbours"),
    ):
        with pytest.raises(UserError, match=match):
            make_trainer(callback).test(Draws(grid.sample), data, verbose=False)
