"""The likelihood of a Boltzmann machine as a figure: against enumeration, and independent of how it is measured."""

import pytest
import torch
from lightning.pytorch import LightningDataModule

from lit_gen.callbacks.partition_function import PartitionFunction
from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
from lit_gen.errors import UserError
from lit_gen.metrics.ais import exact_log_partition
from lit_gen.models.energy.rbm import RBM
from lit_gen.networks.codec import Codec
from lit_gen.protocols import Batch

GREY = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(0))


class Loader:
    def __init__(self, x, batch_size):
        self.x, self.batch_size = x, batch_size

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __iter__(self):
        for index in torch.arange(len(self.x)).split(self.batch_size):
            yield Batch(self.x[index], None, index)


class Data(LightningDataModule):
    event_shape = (1, 3, 3)
    binarization = "fixed"
    binarization_seed = 4

    def __init__(self, batch_size=7, x=None):
        super().__init__()
        self.batch_size, self.x = batch_size, GREY.round() if x is None else x

    def test_dataloader(self):
        return Loader(self.x, self.batch_size)

    val_dataloader = train_dataloader = test_dataloader

    def reference_loader(self, split):
        assert split == "train"
        return Loader(GREY, 11)


def machine(visible=None, num_hidden=6, scale=0.5, **kwargs):
    torch.manual_seed(0)
    rbm = RBM(visible or BernoulliUnits((1, 3, 3)), BernoulliUnits(num_hidden), **kwargs)
    torch.nn.init.normal_(rbm.weight, std=scale)
    torch.nn.init.normal_(rbm.visible.bias, std=0.5)
    return rbm


def test_figures_are_those_of_enumeration_and_of_annealing(make_trainer):
    rbm, callback = machine(), PartitionFunction(num_chains=100, num_temperatures=200)
    (figures,) = make_trainer(callback).test(rbm, Data(), verbose=False)
    log_z = exact_log_partition(rbm)
    with torch.no_grad():
        nll = rbm.free_energy(GREY.round()).double() + log_z
    assert figures["test/log_z_exact"] == pytest.approx(log_z.item(), rel=1e-6)
    assert figures["test/nll_nats_exact"] == pytest.approx(nll.mean().item(), rel=1e-6)
    over_examples = nll.std().item() / 40**0.5
    assert figures["test/nll_nats_exact_se"] == pytest.approx(over_examples, rel=1e-4)
    error = figures["test/log_z_ais_se"]
    assert 0 < error < 0.05
    assert abs(figures["test/log_z_ais"] - log_z.item()) < 3 * error
    difference = figures["test/nll_nats_ais_c100_t200"] - figures["test/nll_nats_exact"]
    assert difference == pytest.approx(figures["test/log_z_ais"] - log_z.item(), abs=1e-4)
    both = (over_examples**2 + error**2) ** 0.5
    assert figures["test/nll_nats_ais_c100_t200_se"] == pytest.approx(both, rel=1e-4)
    assert callback.protocols["test/nll_nats_ais_c100_t200"].startswith(
        "log Z by AIS, 100 chains, 200 temperatures, noise seed 0; 40 test examples; binarization fixed (seed 4); "
    )
    assert callback.protocols["test/nll_nats_exact"].startswith("log Z by enumeration; 40 test examples")


def test_density_of_gaussian_units(make_trainer):
    rbm = machine(GaussianUnits((1, 3, 3), std=0.5), scale=0.2)
    (figures,) = make_trainer(PartitionFunction(200, 200)).test(rbm, Data(x=GREY), verbose=False)
    assert figures["test/nll_nats_ais_c200_t200"] == pytest.approx(
        figures["test/nll_nats_exact"], abs=3 * figures["test/log_z_ais_se"]
    )


def test_figures_do_not_depend_on_batches_or_the_callers_noise_and_leave_no_trace(make_trainer):
    rbm = machine(num_chains=5)
    before = {name: value.clone() for name, value in rbm.state_dict().items()}
    found = []
    for batch_size, seed in ((7, 1), (40, 2)):
        torch.manual_seed(seed)
        (figures,) = make_trainer(PartitionFunction(10, 20)).test(rbm, Data(batch_size), verbose=False)
        found.append(figures)
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[0]["test/log_z_ais"] == found[1]["test/log_z_ais"]
    assert all(torch.equal(before[name], value) for name, value in rbm.state_dict().items())
    (other,) = make_trainer(PartitionFunction(10, 20, seed=1)).test(rbm, Data(), verbose=False)
    assert other["test/log_z_ais"] != found[0]["test/log_z_ais"]


def test_a_large_machine_has_no_exact_figures(make_trainer):
    torch.manual_seed(0)
    rbm = RBM(GaussianUnits((1, 3, 3)), BernoulliUnits(21))
    (figures,) = make_trainer(PartitionFunction(4, 3)).test(rbm, Data(), verbose=False)
    assert "test/nll_nats_ais_c4_t3" in figures
    assert not [name for name in figures if "exact" in name]


def test_validation_measures_only_when_it_was_asked_for(make_trainer):
    (figures,) = make_trainer(PartitionFunction(4, 3)).validate(machine(), Data(), verbose=False)
    assert {"val/log_z_ais", "val/nll_nats_exact", "val/nll_nats_ais_c4_t3"} <= figures.keys()
    trainer = make_trainer(PartitionFunction(4, 3), max_epochs=1)
    trainer.fit(machine(), Data())
    assert not [name for name in trainer.callback_metrics if "log_z" in name or "nll" in name]


def test_refuses_models_that_are_no_machine_of_the_data(make_trainer, linear_model, small_data):
    with pytest.raises(UserError, match="PartitionFunction can't score a LinearModel"):
        make_trainer(PartitionFunction()).test(linear_model(), small_data())
    linear, unflatten = torch.nn.Linear(9, 9), torch.nn.Unflatten(1, (1, 3, 3))
    below = Codec(torch.nn.Sequential(torch.nn.Flatten(), linear, torch.nn.Sigmoid()), unflatten)
    with pytest.raises(UserError, match="of codes, not of the data"):
        make_trainer(PartitionFunction()).test(machine(BernoulliUnits(9), below=below), Data())
    grey = Data(x=GREY)
    grey.binarization = "none"
    with pytest.raises(UserError, match=r"can't score grey data by Bernoulli units.*set data.binarization"):
        make_trainer(PartitionFunction()).test(machine(), grey)


@pytest.mark.parametrize("wrong", [{"num_chains": 1}, {"num_temperatures": 0}])
def test_refuses_counts_out_of_range(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} of at least"):
        PartitionFunction(**wrong)
