"""The three players of a VAE-GAN against Algorithm 1 written out."""

import copy

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.distributions.laplace import LaplaceHead
from lit_gen.distributions.mixture import MixturePrior
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.vaes.vae_gan import VAEGAN
from lit_gen.networks.feature_network import FeatureNetwork
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.protocols import Codes, ExactLikelihood, ImportanceWeights, Samples

X = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1))
PLAYERS = ("encoder", "decoder", "discriminator")


def vae_gan(seed=0, objective=None, **kwargs):
    torch.manual_seed(seed)
    parts = {
        "encoder": MLP((1, 4, 4), 3, [8], params_per_output=2),
        "decoder": MLP(3, (1, 4, 4), [8], output_activation=nn.Sigmoid),
        "discriminator": FeatureNetwork(MLP((1, 4, 4), 5, [], output_activation=nn.Tanh), MLP(5, (), [])),
        "posterior": NormalHead(min_scale=0.0),
        "prior": StandardNormal(3),
        "objective": objective or Minimax(),
    }
    return VAEGAN(**(parts | kwargs))


@pytest.mark.parametrize("objective", [Minimax(), NonSaturating()], ids=["minimax", "non_saturating"])
def test_each_players_gradient_is_that_of_its_own_terms_in_algorithm_1(tiny, objective):
    gamma, std = 0.3, 0.5
    model, gradients, draws = vae_gan(objective=objective, gamma=gamma, feature_std=std), tiny.Gradients(), []
    start = copy.deepcopy(model)
    take = model._draws
    model._draws = lambda num: draws.append(take(num)) or draws[-1]
    states = []

    class Keep(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            states.append(copy.deepcopy(pl_module.state_dict()))

    tiny.trainer(max_steps=1, callbacks=[gradients, Keep()]).fit(model, tiny.Loader(X, 6))
    assert [index for index, _ in gradients.steps] == [0, 1, 2]
    [(noise, z_p)] = draws
    x = X[:6]
    for number, player in enumerate(PLAYERS):
        start.load_state_dict(states[number])  # the weights that the others have by then
        mean, log_scale = start.encoder(x).unbind(1)
        z = mean + log_scale.exp() * noise
        l_prior = 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(1).mean()
        features = start.discriminator.trunk
        x_tilde, x_p = start.decoder(z), start.decoder(z_p)
        l_llike = 0.5 * (features(x) - features(x_tilde)).div(std).square().sum(1).mean()
        d = lambda images: start.discriminator(images).sigmoid()  # noqa: E731
        l_gan = (d(x).log() + (1 - d(x_tilde)).log() + (1 - d(x_p)).log()).mean()
        # Of -L_GAN as the decoder's loss, what depends on it is log(1 - D) of its two fakes, minimised.
        fakes = (1 - d(x_tilde)).log() + (1 - d(x_p)).log()
        if isinstance(objective, NonSaturating):
            fakes = -d(x_tilde).log() - d(x_p).log()
        loss = {
            "encoder": l_prior + l_llike,
            "decoder": gamma * l_llike + fakes.mean(),
            "discriminator": -l_gan,
        }[player]
        expected = torch.autograd.grad(loss, list(getattr(start, player).parameters()))
        for got, want in zip(gradients.steps[number][1], expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_each_step_moves_its_own_player_alone(tiny):
    model, seen = vae_gan(), []

    class Watch(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            seen.append({name: copy.deepcopy(getattr(pl_module, name).state_dict()) for name in PLAYERS})

    tiny.trainer(max_steps=1, callbacks=[Watch()]).fit(model, tiny.Loader(X, 24))
    seen.append({name: getattr(model, name).state_dict() for name in PLAYERS})
    for number, player in enumerate(PLAYERS):
        before, after = seen[number], seen[number + 1]
        for name in PLAYERS:
            same = all(torch.equal(value, after[name][key]) for key, value in before[name].items())
            assert same == (name != player)


def test_evaluation_gives_the_terms_of_each_example(tiny):
    model = vae_gan(gamma=0.3).eval()
    [metrics] = tiny.trainer().validate(model, tiny.Loader(X, 10), verbose=False)
    value = lambda name: metrics[f"val/{name}"]  # noqa: E731
    assert value("encoder_loss") == pytest.approx(value("kl") + value("feature_error"), rel=1e-5)
    assert value("decoder_loss") == pytest.approx(0.3 * value("feature_error") + value("adversarial"), rel=1e-5)
    assert value("squared_error") > 0
    assert value("real_score") == pytest.approx(model.discriminator(X).mean().item(), rel=1e-4)


def test_a_resumed_run_ends_where_the_unbroken_one_does(tiny, tmp_path):
    seed_everything(5)
    checkpoint = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    unbroken = vae_gan()
    tiny.trainer(max_steps=8, callbacks=[checkpoint]).fit(unbroken, tiny.Loader(X, 6))
    resumed = vae_gan(seed=9)
    tiny.trainer(max_steps=8).fit(resumed, tiny.Loader(X, 6), ckpt_path=str(tmp_path / "step=4.ckpt"))
    for name, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@torch.no_grad()
def test_codes_samples_and_no_likelihood(tiny):
    model = vae_gan().eval()
    assert isinstance(model, Codes)
    assert isinstance(model, Samples)
    assert not isinstance(model, ImportanceWeights | ExactLikelihood)
    torch.testing.assert_close(model.encode(X), model.encoder(X)[:, 0])
    [prediction] = tiny.trainer().predict(model, tiny.Loader(X, 24))
    torch.testing.assert_close(prediction.reconstruction, model.decoder(model.encode(X)))
    with pytest.raises(UserError, match="Likelihood can't score a VAEGAN"):
        tiny.trainer(callbacks=[Likelihood()], max_steps=1).fit(model, tiny.Loader(X, 6))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": MLP((1, 4, 4), 5, [], params_per_output=2)}, r"codes of shape \(5,\), but the prior's"),
        ({"posterior": LaplaceHead()}, "must be a diagonal normal"),
        ({"prior": MixturePrior(3, 2)}, "to a MixturePrior has no closed form, .* take the prior StandardNormal"),
        ({"decoder": MLP(3, (1, 5, 5), [], output_activation=nn.Sigmoid)}, r"shape \(1, 5, 5\), but the data's"),
        ({"decoder": MLP(4, (1, 4, 4), [])}, r"takes inputs of shape \(4,\), but the prior's codes"),
        ({"decoder": MLP(3, (1, 4, 4), [50])}, r"pixels must lie in \[0, 1\]"),
        ({"discriminator": FeatureNetwork(MLP((1, 4, 4), 5, []), MLP(5, 1, []))}, r"one score .* gave \(2, 1\)"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_step(tiny, parts, message):
    with pytest.raises(UserError, match=message) as error:
        tiny.trainer(max_steps=1).fit(vae_gan(**parts), tiny.TensorData(X, 6))
    assert "\n" not in str(error.value)


def test_numbers_and_networks_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="gamma must not be negative"):
        vae_gan(gamma=-1.0)
    with pytest.raises(UserError, match="feature_std must be positive"):
        vae_gan(feature_std=0.0)
    with pytest.raises(UserError, match=r"features\(x\) and from_features.*which a MLP hasn't"):
        vae_gan(discriminator=MLP((1, 4, 4), (), []))
