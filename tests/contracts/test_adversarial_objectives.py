"""What every adversarial objective owes, over every member."""

import copy
import inspect

import pytest
import torch

import lit_gen.objectives.adversarial as room
from lit_gen.objectives.adversarial.base import AdversarialObjective, has_state
from lit_gen.objectives.adversarial.boundary_equilibrium import BoundaryEquilibrium
from lit_gen.objectives.adversarial.boundary_seeking import BoundarySeeking
from lit_gen.objectives.adversarial.divergences import (
    Alpha,
    Divergence,
    GANDivergence,
    JensenShannon,
    KullbackLeibler,
    Neyman,
    Pearson,
    ReverseKullbackLeibler,
    SquaredHellinger,
    TotalVariation,
)
from lit_gen.objectives.adversarial.energy_based import EnergyBased
from lit_gen.objectives.adversarial.f_divergence import FDivergence
from lit_gen.objectives.adversarial.halved_cross_entropy import HalvedCrossEntropy
from lit_gen.objectives.adversarial.hinge import Hinge
from lit_gen.objectives.adversarial.least_squares import LeastSquares
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.adversarial.relativistic import RelativisticPaired
from lit_gen.objectives.adversarial.wasserstein import Wasserstein

DIVERGENCES = [
    KullbackLeibler(),
    ReverseKullbackLeibler(),
    Pearson(),
    Neyman(),
    SquaredHellinger(),
    JensenShannon(),
    GANDivergence(),
    TotalVariation(),
    Alpha(-0.5),
    Alpha(0.5),
    Alpha(1.5),
]
OBJECTIVES = [
    Minimax(),
    NonSaturating(),
    NonSaturating(real_smoothing=0.1, fake_smoothing=0.05),
    HalvedCrossEntropy(),
    BoundarySeeking(),
    LeastSquares(fake_target=-1.0),
    Wasserstein(),
    Hinge(),
    RelativisticPaired(),
    EnergyBased(),
    BoundaryEquilibrium(k=0.3),
    *(FDivergence(divergence, saddle) for divergence in DIVERGENCES for saddle in (False, True)),
]


def named(objective):
    divergence = getattr(objective, "divergence", None)
    return type(objective).__name__ + (f"-{type(divergence).__name__}" if divergence else "")


@pytest.fixture(params=OBJECTIVES, ids=named)
def objective(request):
    return copy.deepcopy(request.param)


def test_one_finite_loss_an_example_with_finite_gradients_even_at_large_scores(objective):
    """Divergences that grow exponentially in the score are finite for as large a score as single precision allows."""
    divergence = getattr(objective, "divergence", None)
    exponential = isinstance(divergence, Alpha | KullbackLeibler | ReverseKullbackLeibler | Neyman | SquaredHellinger)
    most = 40.0 if exponential else 1e4
    scores = torch.tensor([-most, -most / 10, -1.0, 0.0, 1.0, most / 10, most])
    if objective.scores_are_energies:
        scores = scores.abs()
    real, fake = scores.clone().requires_grad_(), scores.flip(0).clone().requires_grad_()
    for loss in (objective.discriminator_loss(real=real, fake=fake), objective.generator_loss(real=real, fake=fake)):
        assert loss.shape == (7,)
        assert loss.isfinite().all()
        gradients = torch.autograd.grad(loss.sum(), [real, fake], allow_unused=True)
        assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


def test_a_finite_loss_has_a_finite_gradient(objective):
    """Far beyond where an exponential overflows the loss is infinite; where it isn't, its gradient mustn't be NaN."""
    for sign in (-1.0, 1.0):
        for size in (60.0, 100.0, 120.0, 1000.0):
            score = torch.tensor([sign * size], requires_grad=True)
            other = torch.zeros(1)
            for real, fake in ((score, other), (other, score)):
                loss = objective.discriminator_loss(real=real, fake=fake)
                if loss.isfinite():
                    [gradient] = torch.autograd.grad(loss.sum(), [score])
                    assert gradient.isfinite(), (real, fake)


def test_the_discriminator_wants_real_up_and_fake_down_and_the_generator_fake_up(objective):
    """Of energies the other way round. Scores are near the boundary: some objectives have had enough further out."""
    sign = -1.0 if objective.scores_are_energies else 1.0
    real = (torch.rand(9) * 0.8).requires_grad_()
    fake = ((torch.rand(9) - 1.0) * 0.8 if sign > 0 else torch.rand(9) * 0.8).requires_grad_()
    up, down = torch.autograd.grad(objective.discriminator_loss(real=real, fake=fake).sum(), [real, fake])
    assert (sign * up < 0).all()
    assert (sign * down > 0).all()
    [generator] = torch.autograd.grad(objective.generator_loss(real=real, fake=fake).sum(), [fake])
    assert (sign * generator < 0).all()


def test_says_truly_whether_the_generator_looks_at_real_scores(objective):
    fake = torch.randn(9)
    a, b = (objective.generator_loss(real=torch.randn(9), fake=fake) for _ in range(2))
    assert torch.equal(a, b) != objective.generator_uses_real
    if not objective.generator_uses_real:
        assert torch.equal(a, objective.generator_loss(real=None, fake=fake))


def test_real_and_fake_are_keyword_only(objective):
    for method in (objective.discriminator_loss, objective.generator_loss, objective.observe):
        parameters = inspect.signature(method).parameters
        assert list(parameters) == ["real", "fake"]
        assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())
    with pytest.raises(TypeError):
        objective.generator_loss(torch.zeros(1), torch.zeros(1))


def test_probabilities_rise_with_the_score_or_there_are_none(objective):
    probability = objective.probability_real(torch.linspace(-3, 3, 7))
    if probability is not None:
        assert (probability.diff() > 0).all()
        assert 0 < probability.min() < probability.max() < 1
        assert probability[3] == 0.5


def test_only_objectives_with_state_change_by_what_they_observe(objective):
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    objective.observe(real=torch.tensor(2.0), fake=torch.tensor(0.5))
    assert has_state(objective) == bool(before)
    changed = any(not torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    assert changed == bool(before)


def test_every_member_is_listed_here():
    members = {value for value in vars(room).values() if isinstance(value, type)}
    objectives = {member for member in members if issubclass(member, AdversarialObjective)}
    assert objectives == {type(objective) for objective in OBJECTIVES}
    assert {member for member in members if issubclass(member, Divergence)} == {type(one) for one in DIVERGENCES}
