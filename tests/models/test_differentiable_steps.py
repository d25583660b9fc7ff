import copy
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import ASGD, LBFGS, SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop, Rprop

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
    partial(NAdam, lr=0.01),
    partial(SGD, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01, maximize=True),
    partial(NAdam, lr=0.01, decoupled_weight_decay=True, weight_decay=0.1),
    partial(AdamW, lr=0.01, amsgrad=True, maximize=True),
    partial(Adadelta, lr=1.0, weight_decay=0.01),
    partial(ASGD, lr=0.1),
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


def resolution(make):
    """NAdam and ASGD keep factors of their steps in single precision, whatever the weights'."""
    return 1e-6 if make.func in (NAdam, ASGD) else 1e-9


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
        torch.testing.assert_close(got.detach(), expected.detach(), rtol=resolution(make), atol=1e-12)


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("num_before", [0, 1, 3])
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_gradients_pass_through_steps_of_a_dead_unit(make, num_before, dtype):
    """A unit that never fires, from the optimizer's very first step on: finite, and as by central differences."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, -100.0
    optimizer, x = make(model.parameters()), X

    def loss(tensors, x):
        weight, bias, head, offset = tensors
        return ((x @ weight.T + bias).relu() @ head.T + offset - 1).square().mean()

    for _ in range(num_before):
        optimizer.zero_grad()
        loss(list(model.parameters()), x).backward()
        optimizer.step()
    if dtype == torch.float32:
        state = copy.deepcopy(optimizer.state_dict())
        model, x = model.float(), x.float()
        optimizer = make(model.parameters())
        optimizer.load_state_dict(state)

    def outcome(x):
        ahead = look_ahead(optimizer, lambda tensors: loss(tensors, x), 2)
        return sum((tensor * torch.linspace(1, 2, tensor.numel()).view_as(tensor)).sum() for tensor in ahead)

    leaf = x.clone().requires_grad_()
    [gradient] = torch.autograd.grad(outcome(leaf), leaf)
    assert gradient.isfinite().all()
    if dtype == torch.float64:
        assert gradient.abs().max() > 1e-6
        for place in [(0, 0), (3, 1), (7, 2)]:
            step = torch.zeros_like(X)
            step[place] = 1e-6
            difference = (outcome(X + step) - outcome(X - step)).item() / 2e-6
            assert gradient[place].item() == pytest.approx(difference, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_a_fresh_optimizer_with_a_dead_unit_is_looked_ahead_to_where_it_goes(make):
    weight = nn.Parameter(torch.tensor([0.7, 0.0, -2.0], dtype=torch.float64))
    optimizer = make([weight])
    lossy = lambda tensor: (tensor[0] - 3).square() + 0.0 * tensor[1] + tensor[2].sin()  # noqa: E731
    [ahead] = look_ahead(optimizer, lambda tensors: lossy(tensors[0]), 3)
    for _ in range(3):
        optimizer.zero_grad()
        lossy(weight).backward()
        optimizer.step()
    torch.testing.assert_close(ahead.detach(), weight.detach(), rtol=resolution(make), atol=1e-12)


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
