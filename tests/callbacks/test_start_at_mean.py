from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from lit_gen.callbacks.start_at_mean import StartAtMean
from lit_gen.data.array_file import ArrayFile
from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.errors import UserError
from lit_gen.models.gans.gan import GAN
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.conv import ConvDecoder, ConvEncoder
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.adversarial.non_saturating import NonSaturating

SHAPE = (1, 8, 8)


@pytest.fixture
def data(tmp_path):
    x = torch.randint(0, 256, (50, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x[:, 0] = 0  # a row that is always black
    np.save(tmp_path / "x.npy", x.numpy())
    return ArrayFile(
        path=str(tmp_path / "x.npy"), image_shape=SHAPE, batch_size=16, num_validation=10, binarization="dynamic"
    )


def vae(decoder=None, likelihood=None):
    torch.manual_seed(0)
    return VAE(
        MLP(SHAPE, 2, [4], params_per_output=2),
        MLP(2, SHAPE, [4]) if decoder is None else decoder,
        NormalHead(),
        BernoulliHead() if likelihood is None else likelihood,
        StandardNormal(2),
        optimizer=partial(torch.optim.SGD, lr=0.0),
    )


def fit(model, data, folder, callback=None, **kwargs):
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[StartAtMean() if callback is None else callback],
        default_root_dir=folder,
        **({"max_steps": 1} | kwargs),
    )
    trainer.fit(model, datamodule=data)
    return trainer


def training_mean(data):
    x = torch.cat([batch.x for batch in data.reference_loader("train")])
    return x.mean(0)


def test_a_decoder_without_weights_gives_the_mean_of_the_grey_training_images(data, tmp_path):
    model = vae()
    nn.init.zeros_(model.decoder.layers[-1].weight)
    fit(model, data, tmp_path)
    expected = training_mean(data).clamp(1e-3, 1 - 1e-3)
    torch.testing.assert_close(model.decode(torch.randn(3, 2)), expected.expand(3, *SHAPE))
    assert expected[0, 0].max() == pytest.approx(1e-3)


def test_a_convolutional_decoder_starts_at_the_mean_of_each_channel(data, tmp_path):
    model = vae(decoder=ConvDecoder(2, SHAPE, base_channels=4))
    model.encoder = ConvEncoder(SHAPE, 2, base_channels=4)
    nn.init.zeros_(model.decoder.layers[-1].weight)
    fit(model, data, tmp_path)
    torch.testing.assert_close(model.decode(torch.zeros(1, 2)).mean(), training_mean(data).mean())


def test_it_is_done_once_in_a_run(data, tmp_path):
    callback = StartAtMean()
    trainer = fit(vae(), data, tmp_path, callback)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    checkpoint["state_dict"]["decoder.layers.2.bias"].fill_(7.0)
    torch.save(checkpoint, tmp_path / "learned.ckpt")
    resumed = vae()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        callbacks=[StartAtMean()],
        max_steps=2,
        default_root_dir=tmp_path,
    )
    trainer.fit(resumed, datamodule=data, ckpt_path=tmp_path / "learned.ckpt")
    assert (resumed.decoder.layers[-1].bias == 7.0).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: GAN(MLP(2, SHAPE, []), MLP(SHAPE, (), []), StandardNormal(2), NonSaturating()), "a GAN hasn't"),
        (lambda: vae(likelihood=NormalHead(scale=0.1)), "a MLP before a NormalHead cannot start"),
    ],
)
def test_models_that_cannot_are_told_in_one_line(data, tmp_path, model, message):
    with pytest.raises(UserError, match=message):
        fit(model(), data, tmp_path)
