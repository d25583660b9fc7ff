"""The four players of a CVAE-GAN against their losses written out."""

import copy

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule
from torch import nn

from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.cvae_gan import CVAEGAN, mean_gap, mean_matching
from lit_gen.networks.conditioned import ConditionedMLP
from lit_gen.networks.feature_network import FeatureNetwork
from lit_gen.networks.mlp import MLP
from lit_gen.protocols import Batch, ImportanceWeights, Samples, SamplesOfClasses

NUM_CLASSES = 4
X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1))
LABEL = torch.arange(24) % 3  # class 3 has no examples
PLAYERS = ("classifier", "discriminator", "decoder", "encoder")


class Data(LightningDataModule):
    def __init__(self, batch_size: int = 12, num_classes: int | None = NUM_CLASSES):
        super().__init__()
        self.event_shape, self.num_classes, self.batch_size = (1, 4, 4), num_classes, batch_size

    def train_dataloader(self):
        return Batches(self.batch_size)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class Batches:
    def __init__(self, batch_size):
        self.batch_size = batch_size

    def __len__(self):
        return -(-len(X) // self.batch_size)

    def __iter__(self):
        for rows in torch.arange(len(X)).split(self.batch_size):
            yield Batch(X[rows], LABEL[rows], rows)


def cvae_gan(seed=0, **kwargs):
    torch.manual_seed(seed)
    parts = {
        "encoder": ConditionedMLP((1, 4, 4), NUM_CLASSES, 3, [8], params_per_output=2),
        "decoder": ConditionedMLP(3, NUM_CLASSES, (1, 4, 4), [8], output_activation=nn.Sigmoid),
        "discriminator": FeatureNetwork(MLP((1, 4, 4), 5, [], output_activation=nn.Tanh), MLP(5, (), [])),
        "classifier": FeatureNetwork(MLP((1, 4, 4), 6, [], output_activation=nn.Tanh), MLP(6, NUM_CLASSES, [])),
        "posterior": NormalHead(min_scale=0.0),
        "prior": StandardNormal(3),
    }
    return CVAEGAN(NUM_CLASSES, **(parts | kwargs))


WEIGHTS = {"kl_weight": 3.0, "pair_weight": 0.7, "discriminator_weight": 20.0, "classifier_weight": 5.0}


@pytest.mark.parametrize("num_micro_batches", [1, 3])
def test_each_players_gradient_is_that_of_its_own_terms(tiny, num_micro_batches):
    """Also where the batch goes through the networks in slices, over which the mean features still are the batch's."""
    model, gradients, draws = cvae_gan(num_micro_batches=num_micro_batches, **WEIGHTS), tiny.Gradients(), []
    start, take, states = copy.deepcopy(model), model._draws, []
    model._draws = lambda num: draws.append(take(num)) or draws[-1]

    class Keep(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            states.append(copy.deepcopy(pl_module.state_dict()))

    tiny.trainer(max_steps=1, callbacks=[gradients, Keep()]).fit(model, Batches(12))
    assert [index for index, _ in gradients.steps] == [0, 1, 2, 3]
    [(noise, z_p)] = draws
    x, label = X[:12], LABEL[:12]
    c = nn.functional.one_hot(label, NUM_CLASSES).float()
    for number, player in enumerate(PLAYERS):
        start.load_state_dict(states[number])  # the weights that the others have by then
        mean, log_scale = start.encoder(x, c).unbind(1)
        kl = 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(1).mean()
        x_f, x_p = start.decoder(mean + log_scale.exp() * noise, c), start.decoder(z_p, c)
        f_d, f_c = start.discriminator.trunk, start.classifier.trunk
        pair = (x - x_f).square().sum((1, 2, 3))
        pair = 0.5 * (pair + (f_d(x) - f_d(x_f)).square().sum(1) + (f_c(x) - f_c(x_f)).square().sum(1)).mean()
        match_d = 0.5 * (f_d(x).mean(0) - f_d(x_p).mean(0)).square().sum()
        match_c = sum(
            0.5 * (f_c(x[label == k]).mean(0) - f_c(x_p[label == k]).mean(0)).square().sum() for k in range(3)
        )
        d = lambda images: start.discriminator(images).sigmoid()  # noqa: E731
        loss = {
            "classifier": -start.classifier(x).log_softmax(1)[torch.arange(12), label].mean(),
            "discriminator": -(d(x).log() + (1 - d(x_f)).log() + (1 - d(x_p)).log()).mean(),
            "decoder": 0.7 * pair + 20.0 * match_d + 5.0 * match_c,
            "encoder": 3.0 * kl + 0.7 * pair,
        }[player]
        expected = torch.autograd.grad(loss, list(getattr(start, player).parameters()))
        for got, want in zip(gradients.steps[number][1], expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_the_match_has_the_value_and_the_gradient_of_its_definition():
    torch.manual_seed(0)
    real, generated = torch.randn(10, 3), torch.randn(10, 3, requires_grad=True)
    group = torch.tensor([0, 0, 0, 1, 1, 3, 3, 3, 3, 3])
    gap = mean_gap(real, generated, group, 5)  # two groups without examples
    expected = sum(
        0.5 * (real[group == k].mean(0) - generated[group == k].mean(0)).square().sum() for k in group.unique()
    )
    match = mean_matching(gap, generated, group)
    torch.testing.assert_close(match, expected.detach().expand(10))
    torch.testing.assert_close(gap.share, torch.tensor([0.3, 0.2, 0.0, 0.5, 0.0]))
    got, want = torch.autograd.grad(match.mean(), generated)[0], torch.autograd.grad(expected, generated)[0]
    torch.testing.assert_close(got, want)


def test_each_step_moves_its_own_player_alone(tiny):
    model, seen = cvae_gan(), []

    class Watch(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.append({name: copy.deepcopy(getattr(pl_module, name).state_dict()) for name in PLAYERS})

    tiny.trainer(max_steps=1, callbacks=[Watch()]).fit(model, Batches(24))
    seen.append({name: getattr(model, name).state_dict() for name in PLAYERS})
    for number, player in enumerate(PLAYERS):
        for name in PLAYERS:
            same = all(torch.equal(value, seen[number + 1][name][key]) for key, value in seen[number][name].items())
            assert same == (name != player)


def test_samples_by_class_and_evaluation(tiny):
    model = cvae_gan().eval()
    assert isinstance(model, Samples)
    assert isinstance(model, SamplesOfClasses)
    assert not isinstance(model, ImportanceWeights)
    torch.manual_seed(0)
    first = model.sample_classes(torch.tensor([0, 0, 2]))
    torch.manual_seed(0)
    second = model.sample_classes(torch.tensor([0, 1, 2]))
    assert torch.equal(first[::2], second[::2])
    assert not torch.equal(first[1], second[1])
    assert model.sample(5).shape == (5, 1, 4, 4)
    [metrics] = tiny.trainer().validate(model, Batches(10), verbose=False)
    hits = (model.classifier(X).argmax(1) == LABEL).float().mean().item()
    assert metrics["val/accuracy"] == pytest.approx(hits)
    assert metrics["val/encoder_loss"] == pytest.approx(metrics["val/kl"] + metrics["val/pair_error"], rel=1e-5)
    predictions = tiny.trainer().predict(model, Batches(10))
    assert torch.cat([prediction.reconstruction for prediction in predictions]).shape == X.shape


@pytest.mark.parametrize(
    ("parts", "num_classes", "message"),
    [
        ({}, None, "these have no labels"),
        ({}, 5, "the data have 5 classes"),
        ({"prior": StandardNormal(5)}, NUM_CLASSES, r"codes of shape \(3,\), but the prior's"),
        ({"decoder": ConditionedMLP(3, 2, (1, 4, 4), [])}, NUM_CLASSES, "the decoder does not take inputs"),
        (
            {"classifier": FeatureNetwork(MLP((1, 4, 4), 6, []), MLP(6, 3, []))},
            NUM_CLASSES,
            r"the classifier must give \(2, 4\)",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(tiny, parts, num_classes, message):
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(cvae_gan(**parts), Data(num_classes=num_classes))
    assert "\n" not in str(error.value)


def test_a_network_without_features_is_refused():
    with pytest.raises(UserError, match="CVAEGAN's classifier must have features"):
        cvae_gan(classifier=MLP((1, 4, 4), NUM_CLASSES, []))
