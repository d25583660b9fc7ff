"""What every adversarial objective owes, over every member."""

import inspect

import pytest
import torch

from lit_gen.objectives.adversarial.base import AdversarialObjective
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating

OBJECTIVES = [Minimax, NonSaturating]


@pytest.fixture(params=OBJECTIVES)
def objective(request):
    return request.param()


def test_one_finite_loss_an_example_with_finite_gradients_even_at_extreme_scores(objective):
    scores = torch.tensor([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4])
    real, fake = scores.clone().requires_grad_(), scores.flip(0).clone().requires_grad_()
    for loss in (objective.discriminator_loss(real=real, fake=fake), objective.generator_loss(real=real, fake=fake)):
        assert loss.shape == (7,)
        assert loss.isfinite().all()
        gradients = torch.autograd.grad(loss.sum(), [real, fake], allow_unused=True)
        assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


def test_the_discriminator_wants_real_up_and_fake_down_and_the_generator_fake_up(objective):
    real, fake = torch.randn(9, requires_grad=True), torch.randn(9, requires_grad=True)
    up, down = torch.autograd.grad(objective.discriminator_loss(real=real, fake=fake).sum(), [real, fake])
    assert (up < 0).all()
    assert (down > 0).all()
    [generator] = torch.autograd.grad(objective.generator_loss(real=real, fake=fake).sum(), [fake])
    assert (generator < 0).all()


def test_says_truly_whether_the_generator_looks_at_real_scores(objective):
    fake = torch.randn(9)
    a, b = (objective.generator_loss(real=torch.randn(9), fake=fake) for _ in range(2))
    assert torch.equal(a, b) != objective.generator_uses_real
    if not objective.generator_uses_real:
        assert torch.equal(a, objective.generator_loss(real=None, fake=fake))


def test_real_and_fake_are_keyword_only(objective):
    for method in (objective.discriminator_loss, objective.generator_loss):
        parameters = inspect.signature(method).parameters
        assert list(parameters) == ["real", "fake"]
        assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())
    with pytest.raises(TypeError):
        objective.generator_loss(torch.zeros(1), torch.zeros(1))


def test_every_member_is_listed_here():
    import lit_gen.objectives.adversarial as room

    members = {value for value in vars(room).values() if isinstance(value, type)}
    assert {member for member in members if issubclass(member, AdversarialObjective)} <= set(OBJECTIVES) | {
        AdversarialObjective
    }
