"""A VAE finds a mixture of Gaussians: its likelihood comes near the mixture's own, and its draws lie at the modes."""

import pytest
import torch

from lit_gen.data.toy import Ring
from lit_gen.distributions.location_scale import LearnedScale
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.vaes.vae import VAE
from lit_gen.networks.mlp import MLP
from lit_gen.objectives.variational import ImportanceWeighted

NUM_MODES, STD = 4, 0.2


@pytest.fixture(scope="module")
def mixture() -> Ring:
    return Ring(num_modes=NUM_MODES, radius=1.5, std=STD)


def make() -> VAE:
    torch.manual_seed(0)
    return VAE(
        encoder=MLP(2, 2, [64, 64], params_per_output=2),
        decoder=MLP(2, 2, [64, 64]),
        posterior=NormalHead(),
        likelihood=NormalHead(LearnedScale(0.5)),
        prior=StandardNormal(2),
        objective=ImportanceWeighted(5),
    )


@pytest.fixture(scope="module")
def trained(mixture) -> VAE:
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
    for _ in range(1000):
        loss = -model.bound(mixture.sample(200)).value.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def excess_nats(model: VAE, mixture: Ring) -> tuple[float, float]:
    """Mean of log p(x) - log q(x) over points of the mixture p, and its standard error, q estimated with K = 500."""
    torch.manual_seed(1)
    x = mixture.sample(1000)
    log_px = model.log_importance_weights(x, 500).logsumexp(0) - torch.tensor(500.0).log()
    excess = mixture.log_prob(x) - log_px
    return float(excess.mean()), float(excess.std() / len(x) ** 0.5)


@torch.no_grad()
def shares(model: VAE, mixture: Ring) -> torch.Tensor:
    """(K,) share of draws from the model within three standard deviations of each mode."""
    torch.manual_seed(2)
    y = model.likelihood_at(model.prior().sample((5000,))).sample()
    distance, mode = torch.cdist(y, mixture.modes).min(1)
    return torch.bincount(mode[distance < 3 * STD], minlength=NUM_MODES) / len(y)


def test_the_likelihood_comes_near_the_mixtures_own_and_not_below(trained, mixture):
    excess, standard_error = excess_nats(trained, mixture)
    assert -3 * standard_error < excess < 0.15
    untrained, _ = excess_nats(make().eval(), mixture)
    assert untrained > 1


def test_draws_lie_at_all_modes_in_equal_shares(trained, mixture):
    found = shares(trained, mixture)
    assert found.sum() > 0.85
    assert (found > 0.8 / NUM_MODES).all()
    assert (found < 1.2 / NUM_MODES).all()
    assert shares(make().eval(), mixture).sum() < 0.3
