"""FactorVAE: whose gradient goes where, what the exchange keeps, and what the trained discriminator says."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.factor_vae import FactorVAE, exchange_coordinates
from lit_gen.networks.mlp import MLP

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round()


def factor_vae(**kwargs):
    torch.manual_seed(0)
    parts = {
        "encoder": MLP((1, 4, 4), 3, [8], nn.Tanh, params_per_output=2),
        "decoder": MLP(3, (1, 4, 4), [8], nn.Tanh),
        "posterior": NormalHead(),
        "likelihood": BernoulliHead(),
        "prior": StandardNormal(3),
        "discriminator": MLP(3, (), [8]),
    }
    return FactorVAE(**(parts | kwargs))


def still(**kwargs):
    """Optimizers that don't move."""
    return factor_vae(optimizer=partial(SGD, lr=0.0), discriminator_optimizer=partial(SGD, lr=0.0), **kwargs)


def test_coordinates_are_exchanged_each_by_an_order_of_its_own():
    z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) @ torch.ones(3, 3)  # all three are equal
    torch.manual_seed(0)
    exchanged = exchange_coordinates(z)
    assert torch.equal(exchanged.sort(0).values, z.sort(0).values)  # the marginals, to the bit
    assert torch.corrcoef(z.T).min() > 0.999
    off = torch.corrcoef(exchanged.T) - torch.eye(3)
    assert off.abs().max() < 0.15
    assert (exchanged[:, 0] != z[:, 0]).float().mean() > 0.98
    assert not torch.equal(exchange_coordinates(z), exchanged)


def test_each_player_steps_with_the_gradient_of_its_own_terms(tiny):
    """Against autograd on the formulas, the noise read off the model's own draws."""
    gamma, gradients = 7.0, tiny.Gradients()
    model = still(gamma=gamma)
    states = []
    model.posterior.register_forward_hook(lambda *_: states.append(torch.get_rng_state()))
    tiny.trainer(max_steps=1, callbacks=[gradients]).fit(model, tiny.Loader(X, 8))
    torch.set_rng_state(states[0])
    mean, log_scale = model.encoder(X[:8]).unbind(1)
    scale = log_scale.exp() + model.posterior.min_scale
    p = model.decoder(mean + scale * torch.randn(8, 3)).sigmoid()
    z = mean + scale * torch.randn(8, 3)
    x = X[:8]
    reconstruction = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    kl = 0.5 * (mean**2 + scale**2 - 1 - 2 * scale.log()).sum(1)
    loss = (kl - reconstruction + gamma * model.discriminator(z)).mean()
    players = [*model.encoder.parameters(), *model.decoder.parameters()], [*model.discriminator.parameters()]
    expected = torch.autograd.grad(loss, players[0])
    z = z.detach()
    joint, exchanged = z[:4], exchange_coordinates(z[4:])
    game = (softplus(-model.discriminator(joint)) + softplus(model.discriminator(exchanged))).mean() / 2
    assert [index for index, _ in gradients.steps] == [0, 1]
    for got, want in zip(gradients.steps[0][1], expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)
    for got, want in zip(gradients.steps[1][1], torch.autograd.grad(game, players[1]), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_a_step_of_one_player_leaves_the_other_where_it_is(tiny):
    for moving, other in (("optimizer", "discriminator_optimizer"), ("discriminator_optimizer", "optimizer")):
        model = factor_vae(**{moving: partial(SGD, lr=0.1), other: partial(SGD, lr=0.0)})
        before = {name: value.clone() for name, value in model.state_dict().items()}
        tiny.trainer(max_steps=2).fit(model, tiny.Loader(X, 8))
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed
        assert {name.startswith("discriminator") for name in changed} == {moving.startswith("discriminator")}
    held = {id(p) for optimizer in model.configure_optimizers()[0] for g in optimizer.param_groups for p in g["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}


def test_the_trained_discriminator_gives_the_total_correlation():
    """Of Gaussians that correlate by 0.8, -log(1 - 0.64) / 2 = 0.51 nats."""
    model = factor_vae(discriminator=MLP(2, (), [32, 32]), prior=StandardNormal(2))
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    optimizer = Adam(model.discriminator.parameters(), lr=3e-3)
    torch.manual_seed(0)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 400)
        z = torch.randn(1024, 2, generator=generator) @ mix.T
        optimizer.zero_grad()
        model._discriminator_terms(z[:512], exchange_coordinates(z[512:]))["discriminator_loss"].mean().backward()
        optimizer.step()
    fresh = torch.randn(20_000, 2, generator=generator) @ mix.T
    with torch.no_grad():
        assert float(model._scores(fresh).mean()) == pytest.approx(0.51, abs=0.05)
        assert float(model._scores(torch.randn(20_000, 2, generator=generator)).mean()) < 0  # -KL the other way round


def test_the_penalty_takes_correlation_out_of_the_codes(tiny):
    """Two numbers that go together, told by a code of two: with a large gamma the draws' correlation falls."""
    ties = []
    for gamma in (0.0, 100.0):
        torch.manual_seed(0)
        x = torch.rand(512, 1).repeat(1, 2) + 0.1 * torch.randn(512, 2)
        model = factor_vae(
            encoder=MLP(2, 2, [], params_per_output=2),
            decoder=MLP(2, 2, []),
            likelihood=NormalHead(scale=0.2),
            prior=StandardNormal(2),
            discriminator=MLP(2, (), [32, 32]),
            gamma=gamma,
            optimizer=partial(Adam, lr=0.01),
            discriminator_optimizer=partial(Adam, lr=0.01),
        )
        model.encoder.layers[0].weight.data[:2] = 3 * torch.eye(2)  # it begins with the data's own correlation
        model.encoder.layers[0].bias.data[2:] = -2.0
        tiny.trainer(max_steps=100).fit(model, tiny.TensorData(x, 128))
        z = model.inference(x).posterior.rsample().detach()
        ties.append(float(torch.corrcoef(z.T)[0, 1].abs()))
    assert ties[1] < ties[0] / 2, ties


def test_validation_reports_the_bound_without_the_penalty(tiny):
    model = factor_vae(gamma=1e3, beta=4.0)
    trainer = tiny.trainer(max_steps=3)
    trainer.fit(model, tiny.Loader(X, 8), tiny.Loader(X, 8))
    metrics = trainer.callback_metrics
    torch.testing.assert_close(metrics["val/loss"], metrics["val/kl"] - metrics["val/reconstruction"])
    expected = 4.0 * metrics["train/kl"] - metrics["train/reconstruction"] + 1e3 * metrics["train/total_correlation"]
    torch.testing.assert_close(metrics["train/loss"], expected, rtol=1e-4, atol=1e-3)
    assert trainer.global_step == 3


def test_the_vaes_schedule_counts_batches(tiny):
    schedule = partial(LinearLR, start_factor=1.0, end_factor=0.5, total_iters=6)
    trainer = tiny.trainer(max_steps=6)
    trainer.fit(factor_vae(optimizer=partial(SGD, lr=1e-3), scheduler=schedule), tiny.Loader(X, 8))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(5e-4)


def test_a_schedule_without_a_loss_to_watch_is_refused(tiny):
    with pytest.raises(UserError, match="ReduceLROnPlateau"):
        tiny.trainer(max_steps=1).fit(factor_vae(scheduler=ReduceLROnPlateau), tiny.Loader(X, 8))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"discriminator": MLP(4, (), [])}, r"discriminator takes inputs of shape \(4,\), but the prior's codes have"),
        ({"discriminator": MLP(3, 2, [])}, r"one score a code, \(B,\), but gave \(2, 2\)"),
        ({"encoder": MLP((1, 4, 4), 5, [], params_per_output=2)}, r"codes of shape \(5,\), but the prior's"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_first_step(tiny, parts, message):
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(factor_vae(**parts), tiny.TensorData(X, 8))
    assert "\n" not in str(error.value)


def test_numbers_out_of_range_and_lonely_examples_are_told(tiny):
    with pytest.raises(UserError, match="gamma must not be negative, got -1"):
        factor_vae(gamma=-1)
    with pytest.raises(UserError, match="batch_size of at least 2"):
        tiny.trainer(max_steps=1).fit(factor_vae(), tiny.Loader(X, 1))
