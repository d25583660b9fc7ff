"""The gap between held-out and training examples, which the partition function falls out of."""

import pytest
import torch
from lightning.pytorch import LightningDataModule

from lit_gen.callbacks.free_energy_gap import FreeEnergyGap
from lit_gen.distributions.units import BernoulliUnits
from lit_gen.errors import UserError
from lit_gen.models.energy.rbm import RBM
from lit_gen.protocols import Batch

GENERATOR = torch.Generator().manual_seed(0)
TRAIN, HELD_OUT = torch.rand(30, 9, generator=GENERATOR).round(), torch.rand(17, 9, generator=GENERATOR).round()


class Loader:
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return -(-len(self.x) // 6)

    def __iter__(self):
        for index in torch.arange(len(self.x)).split(6):
            yield Batch(self.x[index].clone(), None, index)


class Data(LightningDataModule):
    event_shape = (9,)

    def train_dataloader(self):
        return Loader(TRAIN)

    def val_dataloader(self):
        return Loader(HELD_OUT)

    test_dataloader = val_dataloader


def machine():
    torch.manual_seed(0)
    rbm = RBM(BernoulliUnits(9), BernoulliUnits(6), optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    torch.nn.init.normal_(rbm.weight, std=0.5)
    return rbm


def test_gap_is_the_difference_of_the_mean_free_energies(make_trainer):
    rbm, callback = machine(), FreeEnergyGap(num_batches=3)
    (figures,) = make_trainer(callback).test(rbm, Data(), verbose=False)
    with torch.no_grad():
        expected = rbm.free_energy(HELD_OUT).mean() - rbm.free_energy(TRAIN[:18]).mean()
    assert figures["test/free_energy_gap"] == pytest.approx(expected.item(), rel=1e-5)
    assert callback.protocols["test/free_energy_gap"] == "17 test examples less 18 training examples"


def test_all_training_examples_where_there_are_no_more_batches(make_trainer):
    rbm, callback = machine(), FreeEnergyGap(num_batches=100)
    (figures,) = make_trainer(callback).validate(rbm, Data(), verbose=False)
    with torch.no_grad():
        expected = rbm.free_energy(HELD_OUT).mean() - rbm.free_energy(TRAIN).mean()
    assert figures["val/free_energy_gap"] == pytest.approx(expected.item(), rel=1e-5)


def test_learning_examples_by_heart_opens_the_gap_and_looking_changes_nothing(make_trainer):
    with_it, without = machine(), machine()
    callback = FreeEnergyGap()
    callback_trainer = make_trainer(callback, max_epochs=60, check_val_every_n_epoch=20, log_every_n_steps=1000)
    callback_trainer.fit(with_it, Data())
    assert callback_trainer.callback_metrics["val/free_energy_gap"] > 1.0
    make_trainer(max_epochs=60, check_val_every_n_epoch=20, log_every_n_steps=1000).fit(without, Data())
    assert all(torch.equal(value, without.state_dict()[name]) for name, value in with_it.state_dict().items())


def test_refuses_a_model_without_free_energy_and_a_count_below_one(make_trainer, linear_model, small_data):
    with pytest.raises(UserError, match="FreeEnergyGap can't score a LinearModel"):
        make_trainer(FreeEnergyGap()).test(linear_model(), small_data())
    with pytest.raises(UserError, match="num_batches of at least 1, got 0"):
        FreeEnergyGap(0)
