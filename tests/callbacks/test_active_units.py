"""Units of codes whose variances are known."""

import copy

import pytest
import torch
from torch import nn

from lit_gen.callbacks.active_units import ActiveUnits
from lit_gen.errors import UserError


@pytest.fixture
def model(linear_model):
    """Its encoder hands out the first pixels, after a dropout that evaluation has to leave out."""
    model = linear_model(dim=4)
    model.encoder.weight.data = torch.eye(4, 16)
    nn.init.zeros_(model.encoder.bias)
    return model


@pytest.fixture
def data(small_data):
    """Four pixels of variances 1, 0.0121, 0.0081 and 0 about means that are far from 0."""

    def make(batch_size: int):
        data = small_data(num=40, batch_size=batch_size)
        signs = torch.tensor([1.0, -1.0]).repeat(20)
        for pixel, (mean, deviation) in enumerate([(0.0, 1.0), (3.0, 0.11), (-3.0, 0.09), (5.0, 0.0)]):
            data.x[:, 0, 0, pixel] = mean + deviation * signs
        return data

    return make


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_counts_the_units_whose_variance_is_above_the_threshold(model, data, make_trainer, batch_size):
    callback = ActiveUnits()
    (figures,) = make_trainer(callback).test(model.train(), datamodule=data(batch_size), verbose=False)
    assert figures["test/active_units"] == 2
    assert callback.protocols == {
        "test/active_units": "of 4 units, those whose code's variance is above 0.01; 40 test examples; "
        "binarization unknown"
    }


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, 3), (0.008, 3), (0.0122, 1), (1.1, 0)])
def test_follows_the_threshold(model, data, make_trainer, threshold, expected):
    (figures,) = make_trainer(ActiveUnits(threshold)).test(model, datamodule=data(9), verbose=False)
    assert figures["test/active_units"] == expected


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_shares_of_several_ranks_add_up(model, data, make_trainer, monkeypatch, world_size):
    """Each rank's variance alone would be 0: its examples are alike."""
    whole, shares = data(40), []
    order = whole.x[:, 0, 0, 0].argsort()
    for part in order.tensor_split(world_size):
        share = copy.copy(whole)
        share.x, share.label = whole.x[part], whole.label[part]
        callback = ActiveUnits()
        make_trainer(callback).test(model, datamodule=share, verbose=False)
        shares.append(callback._sums)
    monkeypatch.setattr("lit_gen.callbacks.active_units.sum_over_ranks", lambda _: sum(shares))
    callback = ActiveUnits()
    (figures,) = make_trainer(callback).test(model, datamodule=whole, verbose=False)
    assert figures["test/active_units"] == 2
    assert "; 40 test examples" in callback.protocols["test/active_units"]


def test_off_in_fit_and_on_where_validation_is_all_there_is(model, data, make_trainer):
    trainer = make_trainer(ActiveUnits(), max_epochs=1)
    trainer.fit(model, datamodule=data(20))
    assert "val/active_units" not in trainer.callback_metrics
    (figures,) = make_trainer(ActiveUnits()).validate(model, datamodule=data(20), verbose=False)
    assert "val/active_units" in figures


def test_refuses_a_negative_threshold_and_a_model_without_a_code(small_data, make_trainer, linear_model):
    with pytest.raises(UserError, match="threshold of at least 0, got -1"):
        ActiveUnits(-1.0)
    with pytest.raises(UserError, match=r"ActiveUnits needs a model with encode\(x\)"):
        ActiveUnits().setup(make_trainer(), nn.Linear(1, 1), "test")
