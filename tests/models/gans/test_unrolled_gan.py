import copy

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.optim import LBFGS, SGD, Adam

from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.gans.unrolled_gan import UnrolledGAN
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.adversarial.wasserstein import Wasserstein
from lit_gen.regularizers.adversarial.gradient_penalty import GradientPenalty
from lit_gen.regularizers.adversarial.weight_clipping import WeightClipping
from lit_gen.regularizers.adversarial.zero_centered import R1, R2

X = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))


def game(unrolled_steps=3, discriminator=None, objective=None, make=Adam, **kwargs):
    torch.manual_seed(0)
    return UnrolledGAN(
        generator=MLP(3, 2, [5], nn.Tanh),
        discriminator=discriminator or MLP(2, (), [5], nn.Tanh),
        prior=StandardNormal(3),
        objective=objective or NonSaturating(),
        unrolled_steps=unrolled_steps,
        generator_optimizer=lambda parameters: Adam(parameters, lr=1e-2),
        discriminator_optimizer=lambda parameters: make(parameters, lr=1e-2),
        **kwargs,
    )


class KeepGradients(Callback):
    """Of the generator's first step, with the weights and noise that it was taken at."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if optimizer is trainer.optimizers[1] and not hasattr(self, "gradients"):
            self.gradients = [p.grad.clone() for p in pl_module.generator.parameters()]
            self.discriminator = copy.deepcopy(pl_module.discriminator)
            self.optimizer_state = copy.deepcopy(trainer.optimizers[0].state_dict())


def flatness(discriminator, x):
    """R1's or R2's term, of weight 1."""
    x = x.detach().requires_grad_()
    [slope] = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return slope.square().sum(1).mean() / 2


def by_hand(model, generator, keep, x, z, num_steps, make):
    """The generator's loss at these weights: a real discriminator steps by a real optimizer, then judges."""
    discriminator = copy.deepcopy(keep.discriminator)
    optimizer = make(discriminator.parameters(), lr=1e-2)
    optimizer.load_state_dict(copy.deepcopy(keep.optimizer_state))
    fake = generator(z).detach()
    for _ in range(num_steps):
        optimizer.zero_grad()
        objective = model.objective
        loss = objective.discriminator_loss(real=discriminator(x), fake=discriminator(fake)).mean()
        for penalty in model.regularizers:
            loss = loss + penalty.weight * flatness(discriminator, x if isinstance(penalty, R1) else fake)
        loss.backward()
        optimizer.step()
    return objective.generator_loss(real=None, fake=discriminator(generator(z))).mean().item()


class NotKnown(MLP):
    """An MLP that isn't known to treat each example by itself, so that each kind is judged apart."""


@pytest.mark.parametrize("make", [SGD, Adam])
@pytest.mark.parametrize("penalties", [[], [R1], [R2], [R1, R2]])
@pytest.mark.parametrize("kind", [MLP, NotKnown])
def test_the_generators_gradient_is_that_of_finite_differences_through_the_steps(tiny, make, penalties, kind):
    terms = [penalty(weight=30.0) for penalty in penalties]
    model = game(make=make, discriminator=kind(2, (), [5], nn.Tanh), regularizers=terms).double()
    keep, draws = KeepGradients(), []
    take = model.draw_latents
    model.draw_latents = lambda num: draws.append(take(num).double()) or draws[-1]
    generator = copy.deepcopy(model.generator)
    tiny.trainer(max_steps=1, callbacks=[keep], precision="64-true").fit(model, tiny.Loader(X.double(), 6))
    z = draws[1]
    for number, place in [(0, (0, 0)), (0, (4, 2)), (2, (1, 3)), (3, (0,))]:
        values = []
        for step in (-1e-5, 1e-5):
            moved = copy.deepcopy(generator)
            with torch.no_grad():
                list(moved.parameters())[number][place] += step
            values.append(by_hand(model, moved, keep, X.double(), z, 3, make))
        expected = (values[1] - values[0]) / 2e-5
        assert keep.gradients[number][place].item() == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_looking_ahead_changes_the_gradient_and_none_is_the_plain_game(tiny):
    gradients = {}
    for steps in (0, 3):
        keep = KeepGradients()
        tiny.trainer(max_steps=1, callbacks=[keep]).fit(game(steps), tiny.Loader(X, 6))
        gradients[steps] = keep.gradients
    plain = KeepGradients()
    gan = tiny.gan(generator=game().generator, discriminator=game().discriminator)
    gan.discriminator_optimizer = lambda parameters: Adam(parameters, lr=1e-2)
    tiny.trainer(max_steps=1, callbacks=[plain]).fit(gan, tiny.Loader(X, 6))
    assert all(torch.equal(a, b) for a, b in zip(gradients[0], plain.gradients, strict=True))
    assert not any(torch.allclose(a, b) for a, b in zip(gradients[0], gradients[3], strict=True))


def test_looking_ahead_leaves_the_discriminator_its_buffers_and_its_optimizer_alone(tiny):
    """After a batch they are as in the plain game, batch norm's running statistics too but for the one pass more that
    the plain generator's step makes."""
    states = {}
    for steps in (0, 4):
        discriminator = nn.Sequential(MLP(2, 5, []), BatchNorm1d(5), nn.Tanh(), MLP(5, (), []))
        model = game(steps, discriminator)
        trainer = tiny.trainer(max_steps=1)
        trainer.fit(model, tiny.Loader(X, 6))
        states[steps] = (model.discriminator.state_dict(), trainer.optimizers[0].state_dict()["state"])
    for name, value in states[0][0].items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(value, states[4][0][name]), name
    assert int(states[4][0]["1.num_batches_tracked"]) == 2  # the discriminator's own step: real and fake
    for number, state in states[0][1].items():
        assert all(torch.equal(value, states[4][1][number][name]) for name, value in state.items())


@pytest.mark.parametrize("penalty", [R1(), GradientPenalty()])
def test_looks_ahead_with_penalties_and_any_objective(tiny, penalty):
    model = game(2, objective=Wasserstein(), regularizers=[penalty])
    tiny.trainer(max_steps=3).fit(model, tiny.Loader(X.repeat(3, 1), 6))
    assert all(p.isfinite().all() for p in model.parameters())


def test_what_clips_is_refused_since_the_steps_ahead_would_not():
    for clipping in ({"regularizers": [WeightClipping()]}, {"gradient_clip_norm": 1.0}):
        with pytest.raises(UserError, match="doesn't look through clipped steps"):
            game(2, **clipping)
        assert game(0, **clipping).unrolled_steps == 0  # the plain game


def test_bad_numbers_and_optimizers_are_refused(tiny):
    with pytest.raises(UserError, match="unrolled_steps must not be negative"):
        game(-1)
    with pytest.raises(UserError, match="LBFGS's steps cannot be differentiated"):
        tiny.trainer(max_steps=1).fit(game(make=LBFGS), tiny.Loader(X, 6))
