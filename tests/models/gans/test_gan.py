import copy
import inspect

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.autoencoding import AutoencodingDiscriminator
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.base import AdversarialObjective
from lit_gen.objectives.adversarial.energy_based import EnergyBased
from lit_gen.objectives.adversarial.hinge import Hinge
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.regularizers.adversarial.gradient_penalty import GradientPenalty

X = torch.randn(24, 2, generator=torch.Generator().manual_seed(1))


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_batch_steps_the_discriminator_and_every_nth_the_generator(tiny, steps):
    gradients = tiny.Gradients()
    tiny.trainer(max_steps=7, callbacks=[gradients]).fit(tiny.gan(discriminator_steps=steps), tiny.Loader(X, 6))
    expected = []
    for number in range(7):
        expected += [0, 1] if (number + 1) % steps == 0 else [0]
    assert [index for index, _ in gradients.steps] == expected


def test_the_schedule_of_the_game_goes_on_after_a_resumption(tiny, tmp_path):
    """Checkpoint after batch 4 of a game of 3 to 1: the generator's next step is at batch 6."""
    gan = tiny.gan(discriminator_steps=3)
    checkpoint = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    tiny.trainer(max_steps=4, callbacks=[checkpoint]).fit(gan, tiny.Loader(X, 6))
    gradients = tiny.Gradients()
    resumed = tiny.trainer(max_steps=8, callbacks=[gradients])
    resumed.fit(tiny.gan(discriminator_steps=3), tiny.Loader(X, 6), ckpt_path=str(tmp_path / "step=4.ckpt"))
    assert [index for index, _ in gradients.steps] == [0, 0, 1, 0, 0]
    assert resumed.global_step == 8


def test_a_resumed_run_ends_where_the_unbroken_one_does(tiny, tmp_path):
    seed_everything(5)
    checkpoint = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    unbroken = tiny.gan(discriminator_steps=3, ema_decay=0.8)
    tiny.trainer(max_steps=8, callbacks=[checkpoint]).fit(unbroken, tiny.Loader(X, 6))
    resumed = tiny.gan(discriminator_steps=3, ema_decay=0.8, seed=99)
    tiny.trainer(max_steps=8).fit(resumed, tiny.Loader(X, 6), ckpt_path=str(tmp_path / "step=4.ckpt"))
    assert same(snapshot(unbroken), snapshot(resumed))


def test_each_step_moves_its_own_player_alone(tiny):
    """Gradients and weights of one player are untouched by the other's step, and so is no work done for them."""
    gan = tiny.gan(discriminator_steps=2)
    seen = []

    class Watch(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.append(
                (
                    optimizer is trainer.optimizers[0],
                    [p.grad is not None for p in pl_module.discriminator.parameters()],
                    [p.grad is not None for p in pl_module.generator.parameters()],
                    snapshot(pl_module.discriminator),
                    snapshot(pl_module.generator),
                )
            )

    tiny.trainer(max_steps=2, callbacks=[Watch()]).fit(gan, tiny.Loader(X, 6))
    (_, d1, g1, _, gen1), (_, _, _, disc2, gen2), (is_d, _, g3, disc3, gen3) = seen
    assert all(d1)
    assert not any(g1)
    assert same(gen1, gen2)
    assert same(gen2, gen3)
    assert not is_d
    assert all(g3)
    assert not same(disc2, disc3)
    assert same(disc3, snapshot(gan.discriminator))  # the generator's step left it alone
    assert not same(gen3, snapshot(gan.generator))


def test_the_generators_step_computes_no_gradient_of_the_discriminator(tiny):
    gan = tiny.gan()
    tiny.trainer(max_steps=1).fit(gan, tiny.Loader(X, 6))
    for parameter in gan.discriminator.parameters():
        parameter.grad = None
    gan._generator_terms(X, gan.draw_latents(24))["generator_loss"].sum().backward()
    assert all(p.grad is None for p in gan.discriminator.parameters())
    assert all(p.grad is not None and p.requires_grad for p in gan.generator.parameters())
    for parameter in gan.generator.parameters():
        parameter.grad = None
    gan._discriminator_terms(X, gan.draw_latents(24))["discriminator_loss"].sum().backward()
    assert all(p.grad is None for p in gan.generator.parameters())


class Counting(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, x):
        self.calls += 1
        return self.network(x)


class Relative(AdversarialObjective):
    generator_uses_real = True

    def discriminator_loss(self, *, real, fake):
        return fake - real

    def generator_loss(self, *, real, fake):
        return real - fake


@pytest.mark.parametrize(("objective", "calls"), [(Minimax(), 3), (Relative(), 4)])
def test_no_forward_pass_is_wasted(tiny, objective, calls):
    gan = tiny.gan(generator=Counting(MLP(3, 2, [4])), discriminator=Counting(MLP(2, (), [4])), objective=objective)
    tiny.trainer(max_steps=1).fit(gan, tiny.Loader(X, 6))
    assert gan.generator.calls == 2
    assert gan.discriminator.calls == calls


def test_gradients_are_those_of_the_game_written_out(tiny):
    gan = tiny.gan(objective=Minimax())
    plain = copy.deepcopy(gan)
    draws, gradients = [], tiny.Gradients()
    take = gan.draw_latents
    gan.draw_latents = lambda num: draws.append(take(num)) or draws[-1]
    tiny.trainer(max_steps=1, callbacks=[gradients]).fit(gan, tiny.Loader(X, 6))
    x = X[:6]
    d, g = plain.discriminator, plain.generator
    loss = -(d(x).sigmoid().log() + (1 - d(g(draws[0]).detach()).sigmoid()).log()).mean()
    expected = torch.autograd.grad(loss, list(d.parameters()))
    for got, want in zip(gradients.steps[0][1], expected, strict=True):
        torch.testing.assert_close(got, want)
    d.load_state_dict(gan.discriminator.state_dict())  # the generator plays against the discriminator after its step
    loss = (1 - d(g(draws[1])).sigmoid()).log().mean()
    for got, want in zip(gradients.steps[1][1], torch.autograd.grad(loss, list(g.parameters())), strict=True):
        torch.testing.assert_close(got, want)
    assert not torch.equal(draws[0], draws[1])


def test_the_average_is_that_of_the_generator_computed_directly(tiny):
    decay, history = 0.7, []

    class Keep(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            history.append(snapshot(pl_module.generator))

    generator = nn.Sequential(MLP(3, 6, []), BatchNorm1d(6), MLP(6, 2, []))
    gan = tiny.gan(generator=generator, ema_decay=decay, discriminator_steps=2)
    tiny.trainer(max_steps=8, callbacks=[Keep()]).fit(gan, tiny.Loader(X, 6))
    stepped = history[1::2]  # the generator stepped at batches 2, 4, 6, 8
    expected = stepped[0]
    for state in stepped[1:]:
        expected = {name: decay * expected[name] + (1 - decay) * state[name] for name in expected}
    average = snapshot(gan.generator_average.module)
    for name in expected:
        if "num_batches_tracked" not in name:  # an integer
            torch.testing.assert_close(average[name], expected[name], rtol=1e-5, atol=1e-6)
    assert not any("discriminator" in name for name in average)


def test_samples_come_from_the_average_where_there_is_one(tiny):
    gan = tiny.gan(ema_decay=0.99).eval()
    nn.init.constant_(gan.generator_average.module.layers[-1].bias, 100.0)
    torch.manual_seed(0)
    assert gan.sample(5).min() > 50
    assert gan.generator(torch.randn(5, 3)).max() < 50
    assert tiny.gan().generator_average is None


def test_the_average_is_not_trained_and_survives_a_checkpoint(tiny, tmp_path):
    gan = tiny.gan(ema_decay=0.9)
    checkpoint = ModelCheckpoint(tmp_path, filename="last", every_n_train_steps=5)
    trainer = tiny.trainer(max_steps=5, callbacks=[checkpoint])
    trainer.fit(gan, tiny.Loader(X, 6))
    held = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
    assert not any(id(p) in held or p.requires_grad for p in gan.generator_average.parameters())
    other = tiny.gan(ema_decay=0.9, seed=3)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    other.load_state_dict(content["state_dict"])
    assert other.generator_average.n_averaged == 5
    torch.manual_seed(0)
    a = gan.eval().sample(4)
    torch.manual_seed(0)
    assert torch.equal(a, other.eval().sample(4))


class TanhGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = DCGANGenerator(3, (1, 8, 8), base_channels=4)

    def forward(self, z):
        return 2 * self.network(z) - 1


IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"generator": MLP(5, (1, 8, 8), [])}, r"takes inputs of shape \(5,\), but the prior's latents .* \(3,\)"),
        ({"generator": DCGANGenerator(3, (1, 16, 16), 4)}, r"makes examples of shape \(1, 16, 16\).* \(1, 8, 8\)"),
        ({"generator": TanhGenerator()}, r"pixels must lie in \[0, 1\]"),
        ({"discriminator": MLP((1, 8, 8), 1, [])}, r"one score for each example, \(B,\), but gave \(2, 1\)"),
        ({"discriminator": MLP((3, 8, 8), (), [])}, r"the discriminator takes inputs of shape \(3, 8, 8\)"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_first_step(tiny, parts, message):
    fitting = {
        "generator": DCGANGenerator(3, (1, 8, 8), base_channels=4),
        "discriminator": DCGANDiscriminator((1, 8, 8), base_channels=4),
    }
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(tiny.gan(**(fitting | parts)), tiny.TensorData(IMAGES, 6))
    assert "\n" not in str(error.value)


def test_the_dry_run_leaves_the_networks_and_the_random_state_alone(tiny):
    gan = tiny.gan(
        generator=DCGANGenerator(3, (1, 16, 16), base_channels=4),
        discriminator=DCGANDiscriminator((1, 16, 16), base_channels=4),
    )
    gan.trainer = tiny.trainer(max_steps=1)
    gan.trainer.datamodule = tiny.TensorData(torch.rand(4, 1, 16, 16), 2)
    before, state = snapshot(gan), torch.get_rng_state()
    gan.setup("fit")
    assert torch.equal(torch.get_rng_state(), state)
    assert same(before, snapshot(gan))
    assert all(module.training for module in gan.modules())


@pytest.mark.parametrize("wrong", [{"discriminator_steps": 0}, {"ema_decay": 1.0}, {"ema_decay": -0.1}])
def test_refuses_numbers_out_of_range(tiny, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        tiny.gan(**wrong)


def test_evaluation_and_prediction(tiny):
    gan = tiny.gan()
    trainer = tiny.trainer()
    [metrics] = trainer.test(gan, tiny.Loader(X, 7), verbose=False)  # the last batch is smaller
    assert {"test/discriminator_loss", "test/generator_loss", "test/real_score", "test/fake_score"} <= set(metrics)
    assert metrics["test/real_score"] == pytest.approx(gan.discriminator(X).mean().item(), rel=1e-5)
    scores = torch.cat(trainer.predict(gan, tiny.Loader(X, 7)))
    torch.testing.assert_close(scores, gan.discriminator(X).detach())


def test_real_and_fake_cannot_change_places_unseen():
    for method in (AdversarialObjective.discriminator_loss, AdversarialObjective.generator_loss):
        kinds = [p.kind for p in list(inspect.signature(method).parameters.values())[1:]]
        assert kinds == [inspect.Parameter.KEYWORD_ONLY] * 2


def autoencoder():
    return AutoencodingDiscriminator(MLP(2, 1, [8], nn.Tanh), MLP(1, 2, [8], nn.Tanh))


@pytest.mark.parametrize(
    ("discriminator", "objective", "regularizers"),
    [
        (lambda: MLP(2, [], [8]), NonSaturating, []),
        (lambda: MLP(2, [], [8]), Hinge, [GradientPenalty]),
        (autoencoder, EnergyBased, []),
    ],
    ids=["perceptron", "with a penalty on examples of its own", "autoencoder"],
)
def test_judging_both_batches_in_one_pass_changes_no_gradient(tiny, discriminator, objective, regularizers):
    """A discriminator that somebody has hooked judges real and generated ones apart."""
    runs = []
    for together in (True, False):
        torch.manual_seed(0)
        parts = {"objective": objective(), "regularizers": [made() for made in regularizers]}
        gan = tiny.gan(discriminator=discriminator(), **parts)
        if not together:
            gan.discriminator.register_forward_pre_hook(lambda *_: None)
        passes, gradients = [], tiny.Gradients()
        gan.discriminator.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        seed_everything(5)
        tiny.trainer(max_steps=1, callbacks=[gradients]).fit(gan, tiny.Loader(X, 6))
        runs.append((gradients.steps, len(passes)))
    (joined, num_joined), (apart, num_apart) = runs
    assert num_joined == num_apart - 1
    for (_, ours), (_, theirs) in zip(joined, apart, strict=True):
        torch.testing.assert_close(ours, theirs)
