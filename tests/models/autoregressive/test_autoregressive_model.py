"""The autoregressive model: likelihood, averaged weights, completion, and what it refuses."""

import itertools
import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.data.digits import Digits
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.categorical import CategoricalHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.pixel_logistic_mixture import PixelLogisticMixtureHead
from lit_gen.errors import UserError
from lit_gen.models.autoregressive.autoregressive_model import (
    AutoregressiveModel,
    ClassConditionalAutoregressiveModel,
)
from lit_gen.networks.autoregressive.base import OrderedNetwork
from lit_gen.networks.autoregressive.belief_network import FullyVisibleBeliefNetwork
from lit_gen.networks.autoregressive.made import MADE
from lit_gen.networks.mlp import MLP
from lit_gen.protocols import Batch, Conditional, DrawsCellByCell, ExactLikelihood, Samples, SamplesOfClasses

IMAGE = (1, 8, 8)


def random_network(event_shape=IMAGE, params_per_output=1, num_classes=None):
    network = FullyVisibleBeliefNetwork(event_shape, params_per_output, num_classes)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network


class TwoOrders(OrderedNetwork):
    """Two cells, told forwards and backwards, each by a belief network of its own."""

    def __init__(self):
        super().__init__(2, num_orders=2)
        self.weight = nn.Parameter(torch.tensor([6.0, 6.0]))
        self.bias = nn.Parameter(torch.tensor([[0.5, -1.0], [-2.0, 1.0]]))

    def order(self, number=0):
        return torch.tensor([0, 1] if number == 0 else [1, 0])

    def forward(self, x, label=None, order=0):
        first, second = self.order(order).tolist()
        logits = [None, None]
        logits[first] = self.bias[order, first].expand(len(x))
        logits[second] = self.bias[order, second] + self.weight[order] * x[:, first]
        return torch.stack(logits, 1).unsqueeze(1)


def fit(model, data, folder, *callbacks, **options):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    trainer.fit(model, datamodule=data)
    return trainer


def binary_digits(**kwargs):
    return Digits(batch_size=100, binarization="threshold", **kwargs)


def test_it_keeps_its_protocols():
    model = AutoregressiveModel(random_network(), BernoulliHead())
    assert isinstance(model, Samples) and isinstance(model, ExactLikelihood) and isinstance(model, DrawsCellByCell)
    assert not isinstance(model, Conditional) and not isinstance(model, SamplesOfClasses)
    of_class = ClassConditionalAutoregressiveModel(random_network(num_classes=3), BernoulliHead())
    assert isinstance(of_class, Conditional) and isinstance(of_class, SamplesOfClasses)


def test_orders_are_averaged_in_probability_and_not_in_logits():
    network = TwoOrders()
    model = AutoregressiveModel(network, BernoulliHead())
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)))
    of_orders = torch.stack([BernoulliHead()(network(x, None, k).squeeze(1)).log_prob(x).exp() for k in range(2)])
    torch.testing.assert_close(of_orders.sum(1), torch.ones(2))
    torch.testing.assert_close(model.log_prob(x).exp(), of_orders.mean(0))
    of_logits = BernoulliHead()(torch.stack([network(x, None, k) for k in range(2)]).mean(0).squeeze(1))
    assert abs(of_logits.log_prob(x).exp().sum() - 1) > 0.1


class Records(FullyVisibleBeliefNetwork):
    """Knows two orders, which are the same, and records which it is asked for in training."""

    def __init__(self):
        super().__init__(IMAGE)
        self.num_orders = 2
        self.asked = []

    def forward(self, x, label=None, order=0):
        if self.training and torch.is_grad_enabled() and len(x) > 2:  # not the check of causality
            self.asked.append(order)
        return super().forward(x, label, order)


def test_training_takes_the_orders_in_turn(tmp_path):
    network = Records()
    fit(AutoregressiveModel(network, BernoulliHead()), binary_digits(), tmp_path, max_steps=5)
    assert network.asked == [0, 1, 0, 1, 0]


def test_bits_per_dim_are_nats_by_dimension_and_only_of_levels():
    x = torch.randint(0, 3, (4, *IMAGE), generator=torch.Generator().manual_seed(0)) / 2
    terms = AutoregressiveModel(random_network(params_per_output=3), CategoricalHead(3)).validation_step(batch(x), 0)
    torch.testing.assert_close(terms["bits_per_dim"], terms["loss"] / (64 * math.log(2)))
    density = AutoregressiveModel(random_network(params_per_output=1), NormalHead(scale=0.1))
    assert "bits_per_dim" not in density.validation_step(batch(x), 0)


def batch(x, label=None):
    return Batch(x, label, torch.arange(len(x)))


@pytest.mark.parametrize("naive", [False, True])
def test_samples_follow_the_probabilities(naive):
    model = AutoregressiveModel(random_network((1, 2, 2)), BernoulliHead())
    model.naive_sampling = naive
    torch.manual_seed(0)
    drawn = model.sample(20_000).flatten(1)
    number = (drawn * torch.tensor([8, 4, 2, 1])).sum(1).long()
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(-1, 1, 2, 2)
    expected = model.log_prob(x).exp().detach() * len(drawn)
    chi_square = ((torch.bincount(number, minlength=16) - expected).square() / expected).sum()
    assert chi_square < 37.7  # the 99.9th percentile with 15 degrees of freedom


@pytest.mark.parametrize("naive", [False, True])
def test_draws_of_one_call_are_of_the_mixture_of_orders(naive):
    model = AutoregressiveModel(TwoOrders(), BernoulliHead())
    model.naive_sampling = naive
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)))
    torch.manual_seed(0)
    number = (model.sample(20_000) * torch.tensor([2, 1])).sum(1).long()
    expected = model.log_prob(x).exp().detach() * 20_000
    chi_square = ((torch.bincount(number, minlength=4) - expected).square() / expected).sum()
    assert chi_square < 16.3  # the 99.9th percentile with 3 degrees of freedom


def test_each_class_has_its_own_samples_and_likelihood():
    network = random_network((1, 2, 2), num_classes=2)
    with torch.no_grad():
        network.bias[:] = torch.tensor([-20.0, 20.0]).view(2, 1, 1)
        network.weight.zero_()
    model = ClassConditionalAutoregressiveModel(network, BernoulliHead())
    label = torch.tensor([0, 1, 1])
    x = model.sample_classes(label)
    assert x.flatten(1).mean(1).tolist() == [0, 1, 1]
    assert model.log_prob(x, label).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert (model.log_prob(x, 1 - label) < -70).all()
    torch.manual_seed(0)
    assert {float(image.mean()) for image in model.sample(20)} == {0.0, 1.0}
    with pytest.raises(UserError, match="needs labelled examples"):
        model.log_prob(x)


def test_likelihood_scores_a_conditional_model_given_the_labels(tmp_path):
    data = binary_digits()
    model = ClassConditionalAutoregressiveModel(random_network(num_classes=10), BernoulliHead())
    likelihood = Likelihood()
    trainer = Trainer(
        accelerator="cpu", logger=False, callbacks=[likelihood], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    (figures,) = trainer.test(model, data, verbose=False)
    assert figures["test/nll_nats_exact"] == pytest.approx(figures["test/loss"], rel=1e-6)
    assert likelihood.protocols["test/nll_nats_exact"].startswith("conditional, given the class label; exact")


def test_a_completion_keeps_the_given_rows_and_draws_the_rest():
    model = AutoregressiveModel(random_network((3, 4, 2), 3), CategoricalHead(3))
    x = torch.rand(2, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    levels = (x * 2).round() / 2
    torch.manual_seed(0)
    completed = model.complete_rows(x, 3, 5)
    assert completed.shape == (5, 2, 3, 4, 2)
    assert torch.equal(completed[:, :, :, :3], levels[:, :, :3].expand(5, -1, -1, -1, -1))
    assert completed[:, :, :, 3:].std(0).sum() > 0
    assert set(completed.flatten().tolist()) <= {0.0, 0.5, 1.0}
    assert torch.equal(model.complete_rows(x, 4, 1)[0], levels)
    assert torch.equal(model.visible(x)[:, :, :2], x[:, :, :2]) and (model.visible(x)[:, :, 2:] == 0.5).all()
    assert torch.equal(model.complete(x, 1)[0, :, :, :2], levels[:, :, :2])


def test_a_completion_follows_the_conditional_distribution():
    model = AutoregressiveModel(random_network((1, 2, 1)), BernoulliHead())
    torch.manual_seed(0)
    given = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1)
    drawn = model.complete_rows(given, 1, 20_000).flatten()[1::2]
    both = model.log_prob(torch.tensor([[1.0, 0.0], [1.0, 1.0]]).view(2, 1, 2, 1)).exp()
    assert drawn.mean() == pytest.approx(float((both[1] / both.sum()).detach()), abs=0.015)


@pytest.mark.parametrize("label", [None, 0, 1])
@pytest.mark.parametrize("naive", [False, True])
def test_a_completion_by_several_orders_weighs_them_by_what_is_given(naive, label):
    network = MADE((1, 3, 2), [20], num_orders=3, num_classes=None if label is None else 2)  # three masks, by rows
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(1.5 * torch.randn(parameter.shape, generator=generator))
    model = (AutoregressiveModel if label is None else ClassConditionalAutoregressiveModel)(network, BernoulliHead())
    model.naive_sampling = naive
    rest = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2))).view(4, 1, 1, 2)
    given = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 2, 2)
    x = torch.cat([given.expand(4, -1, -1, -1), rest], 2)
    labels = None if label is None else torch.full((4,), label)
    with torch.no_grad():
        expected = model.log_prob(x, labels).softmax(0)
        of_orders = [BernoulliHead()(network(x, labels, k).squeeze(1)).log_prob(x).softmax(0) for k in range(3)]
    assert (torch.stack(of_orders).mean(0) - expected).abs().max() > 0.05  # what equal weights would give
    torch.manual_seed(0)
    drawn = model.complete_rows(x[:1], 2, 20_000, None if label is None else labels[:1])[:, 0]
    assert torch.equal(drawn[:, :, :2], given.expand(20_000, -1, -1, -1))
    number = (drawn[:, 0, 2] * torch.tensor([2, 1])).sum(1).long()
    torch.testing.assert_close(torch.bincount(number, minlength=4) / 20_000, expected, rtol=0, atol=0.015)


def test_bad_completions_are_refused():
    model = AutoregressiveModel(random_network((1, 4, 4)), BernoulliHead())
    with pytest.raises(UserError, match=r"images of shape \(1, 4, 4\), not \(1, 5, 4\)"):
        model.complete_rows(torch.zeros(1, 1, 5, 4), 2, 1)
    with pytest.raises(UserError, match="4 rows can't have 5"):
        model.complete_rows(torch.zeros(1, 1, 4, 4), 5, 1)
    model.network.order = lambda number=0: torch.arange(16).flip(0)
    with pytest.raises(UserError, match="row by row in its order"):
        model.complete_rows(torch.zeros(1, 1, 4, 4), 2, 1)
    model.network.num_orders = 2  # of which only the first goes by rows
    model.network.order = lambda number=0: torch.arange(16) if number == 0 else torch.arange(16).flip(0)
    with pytest.raises(UserError, match="row by row in all of its orders"):
        model.complete_rows(torch.zeros(1, 1, 4, 4), 2, 1)


def test_the_average_has_had_every_step_when_a_checkpoint_is_written(tmp_path):
    model = AutoregressiveModel(random_network(), BernoulliHead(), ema_decay=0.5)
    checkpoint = ModelCheckpoint(tmp_path, filename="step", every_n_train_steps=3)
    fit(model, binary_digits(), tmp_path, checkpoint, max_steps=3)
    state = torch.load(tmp_path / "step.ckpt", weights_only=True)["state_dict"]
    assert int(state["network_average.n_averaged"]) == 3
    average = state["network_average.module.bias"]
    assert not torch.equal(average, state["network.bias"])
    x = (torch.rand(2, *IMAGE) > 0.5).float()
    model.eval()
    expected = BernoulliHead()(model.network_average.module(x).squeeze(1)).log_prob(x)
    assert torch.equal(model.log_prob(x), expected)


class Sees(OrderedNetwork):
    """Logits of a convolution without a mask."""

    def __init__(self, layer, event_shape=IMAGE):
        super().__init__(event_shape)
        self.layer = layer

    def forward(self, x, label=None, order=0):
        return self.layer(x).unsqueeze(1)


class MaskA(nn.Conv2d):
    """A masked convolution that keeps only what lies ``rows`` above."""

    def __init__(self, kernel_size):
        super().__init__(1, 1, kernel_size, padding=kernel_size // 2)
        self.register_buffer("mask", torch.ones(kernel_size, kernel_size))
        self.mask[kernel_size // 2, kernel_size // 2 :] = 0
        self.mask[kernel_size // 2 + 1 :] = 0

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


REFUSED = {
    "sees itself": (lambda: Sees(nn.Conv2d(1, 1, 3, padding=1)), "sees what it is to tell"),
    "batch norm leaks": (lambda: Sees(nn.Sequential(MaskA(3), nn.BatchNorm2d(1))), "sees what it is to tell"),
    "sees nothing": (lambda: Sees(MaskA(1)), "receptive field misses the image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_breaks_the_chain_rule_is_refused(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        fit(AutoregressiveModel(make(), BernoulliHead()), binary_digits(), tmp_path, max_steps=1)


def test_a_network_that_keeps_to_the_order_is_not(tmp_path):
    fit(AutoregressiveModel(Sees(MaskA(3)), BernoulliHead()), binary_digits(), tmp_path, max_steps=1)


def test_parts_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(UserError, match="keeps to no order"):
        AutoregressiveModel(MLP(IMAGE, IMAGE, [8]), BernoulliHead())
    with pytest.raises(UserError, match="ema_decay"):
        AutoregressiveModel(random_network(), BernoulliHead(), ema_decay=1.0)
    with pytest.raises(UserError, match="conditioned on nothing"):
        ClassConditionalAutoregressiveModel(random_network(), BernoulliHead())
    for model, message in [
        (AutoregressiveModel(random_network((1, 4, 4)), BernoulliHead()), "inputs of shape"),
        (AutoregressiveModel(random_network(params_per_output=4), CategoricalHead(17)), "params_per_output 17"),
        (AutoregressiveModel(random_network(num_classes=10), BernoulliHead()), "is conditioned on classes"),
        (ClassConditionalAutoregressiveModel(random_network(num_classes=9), BernoulliHead()), "have 10 classes"),
        (AutoregressiveModel(random_network(params_per_output=6), PixelLogisticMixtureHead(2, 3)), "params_per_output"),
    ]:
        with pytest.raises(UserError, match=message):
            fit(model, binary_digits(), tmp_path, max_steps=1)


def test_values_that_are_no_level_are_refused(tmp_path):
    with pytest.raises(UserError, match="2 levels"):
        fit(AutoregressiveModel(random_network(), BernoulliHead()), Digits(batch_size=100), tmp_path, max_steps=1)
    with pytest.raises(UserError, match="4 levels"):
        model = AutoregressiveModel(random_network(params_per_output=4), CategoricalHead(4))
        fit(model, Digits(batch_size=100), tmp_path, max_steps=1)


@pytest.mark.parametrize("eval_batch_size", [64, 500])
def test_figures_are_means_over_every_example_whatever_the_last_batch(tmp_path, eval_batch_size):
    """500 test images, the last batch of 64 with 52 of them: none is dropped, and each counts once."""
    data = binary_digits(eval_batch_size=eval_batch_size)
    model = AutoregressiveModel(random_network(), BernoulliHead())
    trainer = Trainer(
        accelerator="cpu", logger=False, callbacks=[Likelihood()], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    (figures,) = trainer.test(model, data, verbose=False)
    x = torch.cat([batch.x for batch in data.test_dataloader()])
    assert len(x) == 500
    with torch.no_grad():
        nll = -model.log_prob(x).double().mean().item()
    assert figures["test/loss"] == pytest.approx(nll, rel=1e-6)
    assert figures["test/nll_nats_exact"] == pytest.approx(nll, rel=1e-6)
    assert figures["test/bits_per_dim"] == pytest.approx(nll / (64 * math.log(2)), rel=1e-6)
