import copy
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, RAdam, RMSprop, Rprop

from lit_gen.errors import UserError
from lit_gen.models.differentiable_steps import check_differentiable, look_ahead

DOUBLE = partial(Adam, lr=0.01)
OPTIMIZERS = [
    partial(SGD, lr=0.1),
    partial(SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    partial(Adam, lr=0.01, betas=(0.5, 0.9)),
    pytest.param(DOUBLE, id="Adam with a count of steps in double precision"),
    partial(Adam, lr=0.01, fused=True),
    partial(AdamW, lr=0.01),
    partial(RMSprop, lr=0.01),
    partial(RMSprop, lr=0.01, centered=True, momentum=0.5),
    partial(Adagrad, lr=0.1),
    partial(Adadelta, lr=1.0),
    partial(Adamax, lr=0.01),
    partial(RAdam, lr=0.01),
    partial(Adam, lr=0.01, amsgrad=True),
]
X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def loss_with(tensors, x):
    weight, bias, head, offset = tensors
    return ((x @ weight.T + bias).tanh() @ head.T + offset - 1).square().mean()


def warmed_up(make):
    """An optimizer with a state."""
    model = network()
    optimizer = make(model.parameters())
    with default_dtype(torch.float64 if make is DOUBLE else torch.float32):
        take_steps(model, optimizer)
    return model, optimizer


def take_steps(model, optimizer, num=2):
    for _ in range(num):
        optimizer.zero_grad()
        loss_with(list(model.parameters()), X).backward()
        optimizer.step()


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_looks_ahead_to_where_the_optimizer_would_be_and_leaves_it_alone(make):
    model, optimizer = warmed_up(make)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    ahead = look_ahead(optimizer, lambda tensors: loss_with(tensors, X), 3)
    after = (model.state_dict(), optimizer.state_dict())
    for old, new in zip(torch.utils._pytree.tree_leaves(before), torch.utils._pytree.tree_leaves(after), strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
    take_steps(model, optimizer, 3)
    for got, expected in zip(ahead, model.parameters(), strict=True):
        torch.testing.assert_close(got.detach(), expected.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_gradients_pass_through_the_steps(make):
    """Of a function of the weights two steps ahead, in what the loss is of: against central differences."""
    _, optimizer = warmed_up(make)

    def outcome(x):
        ahead = look_ahead(optimizer, lambda tensors: loss_with(tensors, x), 2)
        return sum((tensor * torch.linspace(1, 2, tensor.numel()).view_as(tensor)).sum() for tensor in ahead)

    x = X.clone().requires_grad_()
    [gradient] = torch.autograd.grad(outcome(x), x)
    assert gradient.abs().max() > 1e-4
    for place in [(0, 0), (3, 1), (7, 2)]:
        step = torch.zeros_like(X)
        step[place] = 1e-6
        difference = (outcome(X + step) - outcome(X - step)).item() / 2e-6
        assert gradient[place].item() == pytest.approx(difference, rel=1e-4, abs=1e-7)


def test_a_gradient_that_is_zero_from_the_start_gives_no_nan():
    """A unit that never fires has a second moment of zero, of which Adam takes the root."""
    weight = nn.Parameter(torch.zeros(2))
    optimizer = Adam([weight], lr=0.1)
    weight.grad = torch.zeros(2)
    optimizer.step()
    scale = torch.tensor(2.0, requires_grad=True)
    ahead = look_ahead(optimizer, lambda tensors: scale * tensors[0][0].square() + 0.0 * tensors[0][1], 2)
    [gradient] = torch.autograd.grad(ahead[0].sum(), scale)
    assert gradient.isfinite()


@pytest.mark.parametrize("kind", [LBFGS, Rprop])  # Rprop's steps are of the gradient's signs
def test_an_optimizer_that_cannot_be_differentiated_is_refused(kind):
    with pytest.raises(UserError, match=f"{kind.__name__}'s steps cannot be differentiated"):
        check_differentiable(kind(network().parameters()))
