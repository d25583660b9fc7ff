"""Linear-Gaussian codes in two layers, whose posterior and likelihood are known."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from lit_gen.distributions.hierarchical import HierarchicalHead, HierarchicalPrior
from lit_gen.distributions.ladder import LadderHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.vaes.ladder_vae import LadderVAE
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.bottom_layer import BottomLayer
from lit_gen.networks.mlp import MLP

DOUBLE = {"dtype": torch.float64}


def affine(weight: Tensor, bias: Tensor, log_scale: Tensor, off: float = 0.0) -> MLP:
    """A network whose NormalHead is N(weight @ input + bias + off, exp(log_scale + off))."""
    network = MLP(weight.shape[1], weight.shape[0], [], params_per_output=2).double()
    network.layers[0].weight.data = torch.cat([weight, torch.zeros_like(weight)])
    network.layers[0].bias.data = torch.cat([bias + off, log_scale.expand(len(bias)) + off])
    return network


class LinearGaussianLayers:
    """z_2 ~ N(0, I_2), z_1|z_2 ~ N(A z_2 + a, s_1^2 I_3), x|z_1 ~ N(W z_1 + b, s^2 I_4).

    W's columns are orthogonal and A has one number in a row and a column, so that all conditionals are diagonal.
    """

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.s, self.s1 = 0.6, 0.7
        basis = torch.linalg.qr(torch.randn(4, 3, generator=generator, **DOUBLE)).Q
        self.w = basis * torch.tensor([1.5, 0.9, 0.6], **DOUBLE)
        self.a = torch.tensor([[1.1, 0.0], [0.0, -0.8], [0.0, 0.0]], **DOUBLE)
        self.bias_1 = torch.randn(3, generator=generator, **DOUBLE)
        self.b = torch.randn(4, generator=generator, **DOUBLE)
        self.x = torch.randn(5, 4, generator=generator, **DOUBLE) + self.b
        self.prior_covariance = self.a @ self.a.T + self.s1**2 * torch.eye(3, **DOUBLE)
        covariance = self.w @ self.prior_covariance @ self.w.T + self.s**2 * torch.eye(4, **DOUBLE)
        self.exact = MultivariateNormal(self.w @ self.bias_1 + self.b, covariance).log_prob(self.x)

    def generative(self) -> dict:
        """p(x|z_1) and p(z_1, z_2) as parts of a VAE."""
        decoder = MLP(3, 4, []).double()
        decoder.layers[0].weight.data, decoder.layers[0].bias.data = self.w.clone(), self.b.clone()
        down = affine(self.a, self.bias_1, torch.tensor(self.s1, **DOUBLE).log())
        prior = HierarchicalPrior(StandardNormal(2), NormalHead(min_scale=0.0), [down])
        return {"decoder": BottomLayer(decoder, 2), "likelihood": NormalHead(scale=self.s), "prior": prior}

    def upwards(self, off: float = 0.0, **kwargs) -> VAE:
        """q(z_1|x) q(z_2|z_1): the true posterior with means moved and scales stretched by ``off``."""
        prior_precision = torch.linalg.inv(self.prior_covariance)
        c1 = torch.linalg.inv(prior_precision + self.w.T @ self.w / self.s**2)
        gain = c1 @ self.w.T / self.s**2
        encoder = affine(gain, c1 @ prior_precision @ self.bias_1 - gain @ self.b, 0.5 * c1.diagonal().log(), off)
        c2 = torch.linalg.inv(torch.eye(2, **DOUBLE) + self.a.T @ self.a / self.s1**2)
        gain = c2 @ self.a.T / self.s1**2
        up = affine(gain, -gain @ self.bias_1, 0.5 * c2.diagonal().log(), off)
        posterior = HierarchicalHead(NormalHead(min_scale=0.0), [up])
        return VAE(encoder=encoder, posterior=posterior, **self.generative(), **kwargs).double()

    def ladder(self, off: float = 0.0, **kwargs) -> LadderVAE:
        """The estimates that make the ladder's q(z|x) the true posterior, moved and stretched by ``off``."""
        squares = (self.w**2).sum(0)
        inverse = self.w.T / squares[:, None]  # W's pseudo-inverse: the likelihood's mean of z_1
        spread = torch.diag(1 / (self.s1**2 + self.s**2 / squares))
        c2 = torch.linalg.inv(torch.eye(2, **DOUBLE) + self.a.T @ spread @ self.a)
        gain = c2 @ self.a.T @ spread
        weight = torch.cat([inverse, gain @ inverse])
        bias = torch.cat([-inverse @ self.b, -gain @ (inverse @ self.b + self.bias_1)])
        log_scale = torch.cat([self.s / squares.sqrt(), c2.diagonal().sqrt()]).log()
        encoder = affine(weight, bias, log_scale, off)
        posterior = LadderHead(NormalHead(min_scale=0.0))
        return LadderVAE(encoder=encoder, posterior=posterior, **self.generative(), **kwargs).double()


@pytest.fixture
def layers():
    problem = LinearGaussianLayers()
    return SimpleNamespace(problem=problem, upwards=problem.upwards, ladder=problem.ladder)
