"""Regularizers in the game: whose loss they enter, how often, what is computed for them and no more."""

import copy

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.gans.gan import GAN
from lit_gen.models.gans.terms import terms_of
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.boundary_equilibrium import BoundaryEquilibrium
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.adversarial.relativistic import RelativisticPaired
from lit_gen.objectives.adversarial.wasserstein import Wasserstein
from lit_gen.regularizers.adversarial.base import AdversarialRegularizer
from lit_gen.regularizers.adversarial.feature_matching import FeatureMatching
from lit_gen.regularizers.adversarial.gradient_penalty import GradientPenalty
from lit_gen.regularizers.adversarial.historical_averaging import HistoricalAveraging
from lit_gen.regularizers.adversarial.weight_clipping import WeightClipping
from lit_gen.regularizers.adversarial.zero_centered import R1, R2

X = torch.randn(24, 2, generator=torch.Generator().manual_seed(1))


class ReadOff(nn.Module):
    """A discriminator that reads its score off features, and counts."""

    def __init__(self):
        super().__init__()
        self.trunk, self.head = MLP(2, 5, [8], nn.Tanh), MLP(5, (), [])
        self.num_passes = 0

    def features(self, x):
        self.num_passes += 1
        return self.trunk(x)

    def from_features(self, features):
        return self.head(features)

    def forward(self, x):
        return self.from_features(self.features(x))


class Rows(Callback):
    """What each step returned."""

    def __init__(self):
        self.rows = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rows.append({name: value.item() for name, value in outputs.items()})


def test_a_term_is_added_to_its_own_players_loss_by_its_weight(tiny):
    gan = tiny.gan(regularizers=[R1(weight=3.0), HistoricalAveraging("generator", weight=2.0)])
    plain = tiny.gan()
    z = gan.draw_latents(24)
    due = {player: [term for term in terms] for player, terms in gan._terms.items()}
    assert [term.name for term in due["discriminator"]] == ["r1"]
    assert [term.name for term in due["generator"]] == ["historical_averaging"]
    with torch.no_grad():
        for parameter in (*gan.generator.parameters(), *plain.generator.parameters()):
            parameter.add_(0.1)
    x = X.clone().requires_grad_()
    [slope] = torch.autograd.grad(gan.discriminator(x).sum(), x)
    penalty = slope.square().sum(1).mean() / 2
    from lit_gen.models.gans.terms import Due

    terms = gan._discriminator_terms(X, z, [Due(*term, ()) for term in due["discriminator"]])
    expected = plain._discriminator_terms(X, z)["discriminator_loss"].mean() + 3.0 * penalty
    torch.testing.assert_close(terms["discriminator_loss"], expected)
    torch.testing.assert_close(terms["r1"].mean(), penalty)
    terms = gan._generator_terms(X, z, [Due(*term, ()) for term in due["generator"]])
    moved = 0.01 * sum(p.numel() for p in gan.generator.parameters())
    expected = plain._generator_terms(X, z)["generator_loss"].mean() + 2.0 * moved
    torch.testing.assert_close(terms["generator_loss"], expected)


def test_a_lazy_term_enters_every_nth_step_as_heavily_and_stands_in_between(tiny):
    class Counted(AdversarialRegularizer):
        def forward(self, game):
            self.calls = getattr(self, "calls", 0) + 1
            return torch.full((len(game.fake.x),), float(self.calls))

    lazy, rows = Counted(weight=2.0, every_n_steps=3), Rows()
    tiny.trainer(max_steps=7, callbacks=[rows]).fit(tiny.gan(regularizers=[lazy]), tiny.Loader(X, 6))
    assert lazy.calls == 3  # in the steps 0, 3 and 6
    assert [row["counted"] for row in rows.rows] == [1, 1, 1, 2, 2, 2, 3]
    extra = [row["discriminator_loss"] for row in rows.rows]
    plain = Rows()
    tiny.trainer(max_steps=7, callbacks=[plain]).fit(tiny.gan(), tiny.Loader(X, 6))
    # The term has no gradient, so both games are the same but for the number it adds.
    difference = [a - row["discriminator_loss"] for a, row in zip(extra, plain.rows, strict=True)]
    assert difference == pytest.approx([6.0, 0, 0, 12.0, 0, 0, 18.0], abs=1e-5)


def test_a_weight_by_schedule_follows_the_batches(tiny):
    seen = []
    penalty = R1(weight=lambda step: seen.append(step) or 1.0)
    tiny.trainer(max_steps=4).fit(tiny.gan(regularizers=[penalty]), tiny.Loader(X, 6))
    assert seen == [0, 0, 1, 2, 3]  # once when it was made


def test_weights_are_clipped_after_every_step(tiny):
    gan = tiny.gan(objective=Wasserstein(), regularizers=[WeightClipping(0.05)])
    tiny.trainer(max_steps=3).fit(gan, tiny.Loader(X, 6))
    assert max(p.abs().max().item() for p in gan.discriminator.parameters()) <= 0.0501
    assert max(p.abs().max().item() for p in gan.generator.parameters()) > 0.05


@pytest.mark.parametrize(
    ("objective", "regularizers", "passes"),
    [
        (NonSaturating, [], 3),  # real and fake for the discriminator, fake for the generator
        (NonSaturating, [R1, R2], 3),  # they differentiate the passes at hand
        (RelativisticPaired, [R1, R2], 4),
        (Wasserstein, [GradientPenalty], 4),
        (NonSaturating, [FeatureMatching], 4),
        (RelativisticPaired, [FeatureMatching], 4),
    ],
)
def test_nothing_is_judged_twice(tiny, objective, regularizers, passes):
    discriminator = ReadOff()
    gan = tiny.gan(discriminator=discriminator, objective=objective(), regularizers=[one() for one in regularizers])
    made = []
    gan.generator.register_forward_hook(lambda module, args, output: made.append(output.requires_grad))
    tiny.trainer(max_steps=2).fit(gan, tiny.Loader(X, 6))
    assert discriminator.num_passes == 2 * passes
    assert made == 2 * [False, True]  # once for each player, with a graph only where the generator moves


class NotKnown(MLP):
    """An MLP that isn't known to treat each example by itself, as no subclass is."""


def lazy_r1(weight):
    return R1(weight, every_n_steps=2)


@pytest.mark.parametrize(
    ("regularizers", "passes"),  # in four steps
    [
        ([], 4 * 2),  # both kinds of examples at once for the discriminator, fakes for the generator
        ([R1, R2], 4 * 2),
        ([R1], 4 * 3),  # slopes on fakes, at which nobody looks, would cost more than a pass
        ([R2], 4 * 3),
        ([GradientPenalty], 4 * 2),
        ([lazy_r1, R2], 2 * 2 + 2 * 3),
        ([lazy_r1], 2 * 3 + 2 * 2),
    ],
)
@pytest.mark.parametrize("num_micro_batches", [1, 2])
def test_judging_both_kinds_at_once_changes_nothing(tiny, regularizers, passes, num_micro_batches):
    ends = {}
    for kind in (MLP, NotKnown):
        terms = [one(weight=weight) for one, weight in zip(regularizers, [2.0, 5.0], strict=False)]
        seed_everything(3)
        discriminator, rows, num_passes = kind(2, (), [8], nn.Tanh), Rows(), []
        gan = tiny.gan(discriminator=discriminator, regularizers=terms, num_micro_batches=num_micro_batches)
        discriminator.register_forward_hook(lambda *_, seen=num_passes: seen.append(1))
        tiny.trainer(max_steps=4, callbacks=[rows]).fit(gan, tiny.Loader(X, 6))
        ends[kind] = gan.state_dict(), rows.rows
        penalised = terms and isinstance(terms[0], GradientPenalty)  # which has a pass of its own
        expected = passes if kind is MLP else 4 * 3
        assert len(num_passes) == num_micro_batches * (expected + 4 * bool(penalised))
    for one, other in zip(*ends.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_feature_matching_alone_replaces_the_objective(tiny):
    gan = tiny.gan(discriminator=ReadOff(), regularizers=[FeatureMatching()], adversarial_weight=0.0)
    rows = Rows()
    tiny.trainer(max_steps=2, callbacks=[rows]).fit(gan, tiny.Loader(X, 6))
    for row in rows.rows:
        assert row["generator_loss"] == pytest.approx(row["feature_matching"])


def test_an_objective_with_state_observes_once_a_generators_step(tiny):
    class Energy(MLP):
        def reconstruct(self, x):
            return x

    seen = []

    class Watched(BoundaryEquilibrium):
        def observe(self, *, real, fake):
            seen.append((real.item(), fake.item()))
            super().observe(real=real, fake=fake)

    gan = tiny.gan(discriminator=Energy(2, (), [8]), objective=Watched(learning_rate=0.1), discriminator_steps=2)
    rows = Rows()
    tiny.trainer(max_steps=4, callbacks=[rows]).fit(gan, tiny.Loader(X, 6))
    assert seen == [
        (pytest.approx(row["real_score"]), pytest.approx(row["generated_score"])) for row in rows.rows[1::2]
    ]


def test_names_of_terms_are_theirs_alone():
    terms = terms_of([R1(), HistoricalAveraging("generator"), HistoricalAveraging("discriminator"), R1(), R2()])
    assert [term.name for term in terms["discriminator"]] == [
        "discriminator_r1",
        "discriminator_historical_averaging",
        "discriminator_r1_2",
        "r2",
    ]
    assert [term.name for term in terms["generator"]] == ["generator_historical_averaging"]


def test_a_resumed_regularized_game_ends_where_the_unbroken_one_does(tiny, tmp_path):
    """The mean of the weights, the lazy penalty's turn and its noise go on."""

    def game(seed):
        terms = [GradientPenalty(every_n_steps=3), HistoricalAveraging("generator")]
        return tiny.gan(regularizers=terms, seed=seed)

    seed_everything(5)
    checkpoint = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    unbroken, resumed = game(0), game(9)
    a, b = Rows(), Rows()
    tiny.trainer(max_steps=8, callbacks=[checkpoint, a]).fit(unbroken, tiny.Loader(X, 6))
    tiny.trainer(max_steps=8, callbacks=[b]).fit(resumed, tiny.Loader(X, 6), ckpt_path=str(tmp_path / "step=4.ckpt"))
    for name, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert a.rows[4:] == b.rows


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient


class DifferentiableOnce(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = MLP(2, 8, []), MLP(8, (), [8])

    def forward(self, x):
        return self.second(Once.apply(self.first(x)))


@pytest.mark.parametrize("penalty", [R1, R2, GradientPenalty])
def test_a_penalty_on_a_discriminator_that_is_differentiable_once_is_refused(tiny, penalty):
    gan = tiny.gan(discriminator=DifferentiableOnce(), regularizers=[penalty()])
    with pytest.raises(UserError, match=f"{penalty.__name__} needs a discriminator that is differentiable twice"):
        tiny.trainer(max_steps=1).fit(gan, datamodule=tiny.TensorData(X, 6))


def test_features_and_autoencoders_that_are_not_there_are_refused(tiny):
    with pytest.raises(UserError, match="FeatureMatching needs a discriminator with features"):
        gan = tiny.gan(discriminator=nn.Sequential(MLP(2, (), [8])), regularizers=[FeatureMatching()])
        tiny.trainer(max_steps=1).fit(gan, datamodule=tiny.TensorData(X, 6))
    with pytest.raises(UserError, match="BoundaryEquilibrium plays with a discriminator that is an autoencoder"):
        gan = tiny.gan(objective=BoundaryEquilibrium())
        tiny.trainer(max_steps=1).fit(gan, datamodule=tiny.TensorData(X, 6))


def test_trying_a_penalty_leaves_everything_as_it_was(tiny):
    gan = tiny.gan(regularizers=[R1(), GradientPenalty()])
    before = copy.deepcopy(gan.state_dict())
    tiny.trainer(max_steps=0, limit_train_batches=0).fit(gan, datamodule=tiny.TensorData(X, 6))
    assert all(torch.equal(value, before[name]) for name, value in gan.state_dict().items())
    assert all(p.grad is None for p in gan.parameters())


def test_a_negative_weight_of_the_objective_is_refused():
    with pytest.raises(UserError, match="adversarial_weight must not be negative"):
        GAN(MLP(3, 2, []), MLP(2, (), []), StandardNormal(3), NonSaturating(), adversarial_weight=-1.0)
