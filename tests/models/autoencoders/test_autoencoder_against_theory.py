"""Autoencoders against what theory says of them: PCA, the score of a known density, the aim of a sparsity penalty."""

from functools import partial

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import nn
from torch.optim import LBFGS, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from lit_gen.data.toy import GaussianMixture
from lit_gen.models.autoencoders.autoencoder import Autoencoder
from lit_gen.networks.layers.corruption import GaussianNoise
from lit_gen.networks.mlp import MLP
from lit_gen.networks.tied import TransposedMLP
from lit_gen.objectives.reconstruction import CrossEntropy, SquaredError
from lit_gen.protocols import Batch
from lit_gen.regularizers.sparsity import KLSparsity

DIGITS = torch.tensor(load_digits().data / 16)  # (1797, 64), in [0, 1]


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_linear_autoencoder_finds_pcas_error_and_subspace(tiny, tied):
    """Baldi & Hornik 1989, https://doi.org/10.1016/0893-6080(89)90014-2: squared error has no other minima. The error
    within 1 % of scikit-learn's, the largest principal angle between decoder and components below 2 degrees."""
    num_components = 8
    torch.manual_seed(0)
    decoder = TransposedMLP() if tied else MLP(num_components, 64, [])
    optimizer = partial(LBFGS, max_iter=100, history_size=20, line_search_fn="strong_wolfe")
    model = Autoencoder(MLP(64, num_components, []), decoder, SquaredError(), optimizer=optimizer).double()
    tiny.trainer(max_steps=6, limit_val_batches=0).fit(model, datamodule=tiny.TensorData(DIGITS, len(DIGITS)))

    pca = PCA(num_components).fit(DIGITS.numpy())
    best = (DIGITS - torch.tensor(pca.inverse_transform(pca.transform(DIGITS.numpy())))).square().sum(1).mean()
    with torch.no_grad():
        error = model.validation_step(Batch(DIGITS, None, None), 0)["squared_error"].mean()
        codes = torch.cat([torch.zeros(1, num_components), torch.eye(num_components)]).double()
        directions = (model.decoder(codes[1:]) - model.decoder(codes[:1])).T  # the decoder's matrix, without its bias
    assert best * (1 - 1e-9) <= error < 1.01 * best
    cosines = torch.linalg.svdvals(torch.linalg.qr(directions).Q.T @ torch.tensor(pca.components_).T)
    angles = cosines.clamp(max=1).acos().rad2deg()
    assert angles.max() < 2, angles


def test_a_denoising_autoencoders_residual_is_the_score(tiny):
    """(r(x) - x) / sigma^2 against the gradient of log p, on 5,000 points of a mixture of two Gaussians of scale 1.

    Alain & Bengio, What Regularized Auto-Encoders Learn from the Data-Generating Distribution (2014), Theorem 1,
    https://jmlr.org/papers/v15/alain14a.html: equal as sigma tends to 0. At any sigma the best r gives the score of
    p * N(0, sigma^2) (Miyasawa 1961), here a mixture too. Tolerances, as root mean square error relative to the score's
    root mean square and as cosine of all residuals with all scores: 0.2 and 0.98 to the blurred density, 0.33 and 0.97
    to the density itself.
    """
    sigma, means, weights = 0.5, [[-2.0, 0.0], [2.0, 0.0]], [0.6, 0.4]
    density = GaussianMixture(means, 1.0, weights)
    blurred = GaussianMixture(means, (1 + sigma**2) ** 0.5, weights)
    torch.manual_seed(0)
    model = Autoencoder(
        MLP(2, 32, [32], nn.SiLU),
        MLP(32, 2, [], nn.SiLU),
        SquaredError(),
        corruption=GaussianNoise(sigma),
        optimizer=partial(Adam, lr=0.02),
        scheduler=partial(CosineAnnealingLR, T_max=1200),
    )
    data = tiny.TensorData(density.sample(512 * 1200, torch.Generator().manual_seed(0)), 512)
    tiny.trainer(max_epochs=1, limit_val_batches=0).fit(model, datamodule=data)
    x = density.sample(5000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        residual = (model.decode(model.encode(x)) - x).double() / sigma**2
    for truth, most, least in ((blurred, 0.2, 0.98), (density, 0.33, 0.97)):
        at = x.double().requires_grad_()
        (score,) = torch.autograd.grad(truth.log_prob(at).sum(), at)
        assert (residual - score).norm() / score.norm() < most
        assert (residual * score).sum() / (residual.norm() * score.norm()) > least


def test_sparsity_brings_the_mean_activation_to_its_target_and_plain_training_does_not(tiny):
    x = DIGITS.float()
    activity = {}
    for name, regularizers in (("sparse", [KLSparsity(0.1, 20.0)]), ("plain", [])):
        torch.manual_seed(0)
        model = Autoencoder(
            MLP(64, 40, [], output_activation=nn.Sigmoid),
            MLP(40, 64, []),
            CrossEntropy(),
            regularizers=regularizers,
            optimizer=partial(Adam, lr=0.01),
        )
        tiny.trainer(max_epochs=40, limit_val_batches=0).fit(model, datamodule=tiny.TensorData(x, 600))
        activity[name] = model.encode(x).mean(0)
    assert (activity["sparse"] - 0.1).abs().max() < 0.03
    assert activity["plain"].mean() > 0.25
