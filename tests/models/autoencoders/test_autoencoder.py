"""The autoencoder: what it trains on, what it reports, frozen parts, and what it refuses."""

import copy
from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from lit_gen.errors import UserError
from lit_gen.models.autoencoders.autoencoder import Autoencoder
from lit_gen.networks.codec import Codec
from lit_gen.networks.conv import ConvEncoder
from lit_gen.networks.layers.corruption import GaussianNoise, MaskingNoise
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.mlp import MLP
from lit_gen.networks.tied import TransposedMLP
from lit_gen.objectives.reconstruction import CrossEntropy, SquaredError
from lit_gen.protocols import Batch, Codes
from lit_gen.regularizers.contractive import Contractive
from lit_gen.regularizers.sparsity import KLSparsity, L1Sparsity

SHAPE = (1, 4, 4)
X = torch.rand(24, *SHAPE, generator=torch.Generator().manual_seed(1))
BATCH = Batch(X, None, torch.arange(24))


def autoencoder(seed=0, **kwargs):
    torch.manual_seed(seed)
    parts = {
        "encoder": MLP(SHAPE, 3, [8], nn.Tanh),
        "decoder": MLP(3, SHAPE, [8], nn.Tanh),
        "objective": CrossEntropy(),
        "optimizer": partial(Adam, lr=0.01),
    }
    return Autoencoder(**(parts | kwargs))


def sigmoid_codec(seed=0):
    """16 -> 6 codes in (0, 1), with a batch norm whose statistics training would move."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(MLP(SHAPE, 6, []), BatchNorm1d(6), nn.Sigmoid())
    return Codec(encoder, MLP(6, SHAPE, [], output_activation=nn.Sigmoid))


def on_codes(**kwargs):
    parts = {"encoder": MLP(6, 2, [8], nn.Tanh), "decoder": MLP(2, 6, [8], nn.Tanh), "below": sigmoid_codec()}
    return autoencoder(**(parts | kwargs))


def test_reports_the_objective_and_the_squared_error_of_its_own_reconstruction():
    model = autoencoder().eval()
    terms = model.validation_step(BATCH, 0)
    torch.testing.assert_close(terms["squared_error"], (X - model.decode(model.encode(X))).square().sum((1, 2, 3)))
    logits = model.decoder(model.encoder(X))
    torch.testing.assert_close(terms["reconstruction"], CrossEntropy()(logits, X))
    assert torch.equal(terms["loss"], terms["reconstruction"])
    assert isinstance(model, Codes)
    prediction = model.predict_step(BATCH, 0)
    assert torch.equal(prediction.code, model.encode(X))
    assert torch.equal(prediction.reconstruction, logits.sigmoid())


def test_pictures_are_confined_to_their_range_and_the_squared_error_is_not():
    model = autoencoder(objective=SquaredError())
    model.decoder.layers[-1].bias.data.fill_(3.0)
    assert model.decode(model.encode(X)).max() == 1
    terms = model.validation_step(BATCH, 0)
    assert torch.equal(terms["squared_error"], terms["reconstruction"])
    assert (terms["squared_error"] > 16).all()


def test_points_have_no_range_to_be_confined_to():
    model = autoencoder(encoder=MLP(2, 3, []), decoder=MLP(3, 2, []), objective=SquaredError())
    model.decoder.layers[-1].bias.data.fill_(3.0)
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model.decode(z), model.decoder(z))
    assert model.decode(z).max() > 1


def test_the_corrupted_input_is_encoded_and_the_clean_one_aimed_at_in_training_only():
    plain, noisy = autoencoder().train(), autoencoder(corruption=GaussianNoise(0.5)).train()
    torch.manual_seed(3)
    corrupted = noisy.corruption(X)
    torch.manual_seed(3)
    loss = noisy.training_step(BATCH, 0)["loss"]
    torch.testing.assert_close(loss, CrossEntropy()(noisy.decoder(noisy.encoder(corrupted)), X).mean())
    assert not torch.equal(loss, plain.training_step(BATCH, 0)["loss"])
    plain.eval(), noisy.eval()
    assert torch.equal(noisy.encode(X), plain.encode(X))
    assert torch.equal(noisy.validation_step(BATCH, 0)["loss"], plain.validation_step(BATCH, 0)["loss"])


def test_the_loss_is_the_sum_of_reconstruction_and_named_penalties_and_validation_is_free_of_them():
    penalties = [Contractive(0.1), KLSparsity(0.1, 2.0), L1Sparsity(0.01)]
    encoder = MLP(SHAPE, 5, [], output_activation=nn.Sigmoid)
    model = autoencoder(encoder=encoder, decoder=TransposedMLP(), regularizers=penalties).train()
    terms = model.training_step(BATCH, 0)
    code = encoder(X)
    for penalty in penalties:
        torch.testing.assert_close(terms[penalty.name], penalty(encoder, X, code).mean().detach())
    total = sum(value for name, value in terms.items() if name != "loss")
    torch.testing.assert_close(terms["loss"].detach(), total)
    assert set(terms) == {"loss", "reconstruction", "contractive", "kl_sparsity", "l1_sparsity"}
    assert all(not value.requires_grad for name, value in terms.items() if name != "loss")
    free = autoencoder(encoder=encoder, decoder=model.decoder)
    assert torch.equal(model.validation_step(BATCH, 0)["loss"], free.validation_step(BATCH, 0)["loss"])


def test_penalties_see_what_the_encoder_saw():
    class Spy(L1Sparsity):
        def forward(self, encoder, x, code):
            self.seen = x
            torch.testing.assert_close(code, encoder(x))
            return super().forward(encoder, x, code)

    spy = Spy(1.0)
    autoencoder(corruption=MaskingNoise(0.5), regularizers=[spy]).train().training_step(BATCH, 0)
    assert 0.3 < (spy.seen == 0).float().mean() < 0.7


def test_a_codec_below_stays_as_it_was_and_out_of_the_optimizer(tiny, recwarn):
    model, fresh = on_codes(), sigmoid_codec()
    trainer = tiny.trainer(max_epochs=3)
    trainer.fit(model, datamodule=tiny.TensorData(X, 12))
    assert not [warning for warning in recwarn if "eval mode" in str(warning.message)]
    assert model.training
    assert not any(module.training for module in model.train().below.modules())
    assert not any(parameter.requires_grad for parameter in model.below.parameters())
    held = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert held == {id(p) for part in (model.encoder, model.decoder) for p in part.parameters()}
    for name, value in fresh.state_dict().items():
        assert torch.equal(model.state_dict()[f"below.{name}"], value), name
    assert not torch.equal(model.encoder.layers[0].weight, on_codes().encoder.layers[0].weight)


def test_on_a_codec_below_it_trains_on_codes_and_is_scored_on_data():
    model = on_codes().eval()
    h = model.below.encode(X)
    terms = model.validation_step(BATCH, 0)
    own = model.decoder(model.encoder(h))
    torch.testing.assert_close(terms["reconstruction"], CrossEntropy()(own, h))
    torch.testing.assert_close(model.encode(X), model.encoder(h))
    whole = model.below.decode(own.sigmoid())
    torch.testing.assert_close(model.decode(model.encode(X)), whole)
    torch.testing.assert_close(terms["squared_error"], (X - whole).square().sum((1, 2, 3)))


def test_a_stage_lowers_the_composed_nets_error(tiny):
    """Faint patterns of three directions: below, six sigmoid units trained to tell them; above, three for those."""
    torch.manual_seed(0)
    x = (torch.randn(300, 3) @ torch.randn(3, 16)).sigmoid().view(-1, *SHAPE)
    data = tiny.TensorData(x, 300)
    sigmoid = partial(MLP, output_activation=nn.Sigmoid)
    fast = partial(Adam, lr=0.02)
    first = autoencoder(encoder=sigmoid(SHAPE, 6, []), decoder=MLP(6, SHAPE, []), optimizer=fast)
    error = lambda model: model.validation_step(Batch(x, None, None), 0)["squared_error"].mean().item()  # noqa: E731
    untrained = error(first)
    tiny.trainer(max_epochs=150, limit_val_batches=0).fit(first, datamodule=data)
    below = Codec(first.encoder, sigmoid(6, SHAPE, []))
    below.decoder.load_state_dict(first.decoder.state_dict())
    second = autoencoder(encoder=sigmoid(6, 3, []), decoder=MLP(3, 6, []), below=below, optimizer=fast)
    before = error(second)
    tiny.trainer(max_epochs=150, limit_val_batches=0).fit(second, datamodule=data)
    after = error(second)
    assert error(first) < 0.5 * untrained
    assert after < 0.7 * before
    assert after > error(first)  # three codes can't tell more than the six that they are made of


def test_a_checkpoint_holds_the_codec_below_and_restores_the_model_to_the_bit(tiny, tmp_path):
    model = on_codes()
    keep = ModelCheckpoint(tmp_path, filename="step", every_n_train_steps=2)
    tiny.trainer(max_steps=2, callbacks=[keep]).fit(model, datamodule=tiny.TensorData(X, 12))
    state = torch.load(tmp_path / "step.ckpt", weights_only=True)["state_dict"]
    assert "below.encoder.0.layers.0.weight" in state
    other = on_codes(seed=1, below=sigmoid_codec(1))
    other.load_state_dict(state)
    assert torch.equal(other.eval().decode(other.encode(X)), model.eval().decode(model.encode(X)))


def test_filters_are_the_first_layers_weights_in_the_shape_of_the_data():
    model = autoencoder()
    assert model.filters().shape == (8, *SHAPE)
    assert torch.equal(model.filters().flatten(1), model.encoder.layers[0].weight)
    below = Codec(MLP(SHAPE, 6, []), MLP(6, SHAPE, []))
    assert torch.equal(on_codes(below=below).filters().flatten(1), below.encoder.layers[0].weight)
    convolutional = autoencoder(encoder=ConvEncoder((1, 8, 8), 3, 1, 4), decoder=MLP(3, (1, 8, 8), []))
    with pytest.raises(UserError, match="first layer is a Conv2d, not linear"):
        convolutional.filters()


def test_what_it_hands_on_is_its_state_with_tied_weights_written_out():
    plain = autoencoder()
    assert plain.hand_on().keys() == plain.state_dict().keys()
    tied, untied = autoencoder(decoder=TransposedMLP()), autoencoder(seed=1)
    tied.decoder.biases[1].data.normal_()
    untied.load_state_dict(tied.hand_on(), strict=True)
    torch.testing.assert_close(untied.decode(untied.encode(X)), tied.decode(tied.encode(X)))


def test_a_deep_copy_is_tied_to_its_own_encoder():
    model = autoencoder(decoder=TransposedMLP())
    copied = copy.deepcopy(model)
    model.encoder.layers[0].weight.data.zero_()
    z = torch.randn(2, 3)
    assert not torch.equal(copied.decode(z), model.decode(z))
    copied.encoder.layers[0].weight.data.zero_()
    assert torch.equal(copied.decode(z), model.decode(z))


def test_schedules_count_steps_and_plateaus_watch_the_validation_loss():
    linear = autoencoder(scheduler=LinearLR).configure_optimizers()["lr_scheduler"]
    assert linear["interval"] == "step"
    plateau = autoencoder(scheduler=ReduceLROnPlateau).configure_optimizers()["lr_scheduler"]
    assert (plateau["interval"], plateau["monitor"]) == ("epoch", "val/loss")
    assert isinstance(autoencoder(optimizer=partial(SGD, lr=0.1)).configure_optimizers(), SGD)


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"encoder": MLP((1, 5, 5), 3, [])}, r"the encoder takes inputs of shape \(1, 5, 5\), but the data's examples"),
        ({"encoder": MLP(SHAPE, 4, [])}, r"the decoder takes inputs of shape \(3,\), but the encoder's codes have"),
        ({"encoder": MLP(SHAPE, 3, [], params_per_output=2)}, r"codes must be vectors, but have shape \(2, 3\)"),
        ({"decoder": MLP(3, (1, 4, 5), [])}, r"outputs of shape \(1, 4, 5\), but the data's examples have shape"),
        ({"below": sigmoid_codec()}, r"the encoder takes inputs of shape \(1, 4, 4\), but the codes from below"),
        ({"regularizers": [KLSparsity()]}, r"KLSparsity needs codes in \[0, 1\]"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_first_step(tiny, kwargs, told):
    data = tiny.TensorData(torch.randn(8, *SHAPE), 4)
    data.reference_loader = lambda split: iter([Batch(X, None, None)])
    model = autoencoder(**({"objective": SquaredError()} | kwargs))
    if "below" in kwargs:
        model.encoder = MLP(SHAPE, 3, [])
    with pytest.raises(UserError, match=told):
        tiny.trainer(max_steps=1).fit(model, datamodule=data)


def test_a_decoder_below_that_does_not_fit_is_told(tiny):
    for decoder, told in [
        (MLP(5, SHAPE, []), "the decoder below takes inputs of shape"),
        (MLP(6, (1, 4, 5), []), r"the decoder below gives examples of shape \(1, 4, 5\)"),
    ]:
        below = Codec(sigmoid_codec().encoder, decoder)
        with pytest.raises(UserError, match=told):
            tiny.trainer(max_steps=1).fit(on_codes(below=below), datamodule=tiny.TensorData(X, 12))


def test_data_outside_the_range_of_cross_entropy_are_told_at_setup_and_an_unlucky_batch_later(tiny):
    data = tiny.TensorData(X * 2, 12)
    with pytest.raises(UserError, match="CrossEntropy needs targets"):
        tiny.trainer(max_steps=1).fit(autoencoder(), datamodule=data)
    data.reference_loader = lambda split: iter([Batch(X * 2, None, None)])
    model = autoencoder()
    model.trainer = tiny.trainer()
    model.trainer.datamodule = data
    with pytest.raises(UserError, match="CrossEntropy needs targets"):
        model.setup("fit")


def test_two_regularizers_of_one_name_are_refused():
    with pytest.raises(UserError, match="called l1_sparsity, l1_sparsity"):
        autoencoder(regularizers=[L1Sparsity(1.0), L1Sparsity(2.0)])
