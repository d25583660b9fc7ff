"""What every head of a posterior owes, over every member: parameters (B, P, Z) -> q(z|x), batch (B,), event (Z,)."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from lit_gen.distributions.draws import scored_draws
from lit_gen.distributions.flows.distribution import FlowPosterior
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.flows.planar import Planar
from lit_gen.distributions.flows.realnvp import RealNVP
from lit_gen.distributions.full_normal import FullNormalHead
from lit_gen.distributions.laplace import LaplaceHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.errors import UserError

Z = 4
HEADS = {
    "normal": NormalHead,
    "laplace": LaplaceHead,
    "full_normal": partial(FullNormalHead, Z),
    "planar": lambda: FlowPosterior(NormalHead(), Planar(Z, 2)),
    "iaf": lambda: FlowPosterior(NormalHead(), IAF(Z, 2, [8], 3)),
    "iaf_on_full_normal": lambda: FlowPosterior(FullNormalHead(Z), IAF(Z, 1, [8])),
    "realnvp": lambda: FlowPosterior(NormalHead(), RealNVP(Z, 2, [8], 3)),
}


@pytest.fixture(params=HEADS)
def name(request):
    return request.param


@pytest.fixture
def head(name):
    torch.manual_seed(0)
    head = HEADS[name]()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    return head


def params_for(head):
    return torch.randn(5, head.params_per_output, Z, generator=torch.Generator().manual_seed(0))


def scored(q, num_samples):
    torch.manual_seed(1)
    return scored_draws(q, (num_samples,))


def test_draws_come_with_their_density(head, name):
    q = head(params_for(head))
    assert q.batch_shape == (5,)
    assert q.event_shape == (Z,)
    for shape in ((), (3,), (2, 3)):
        z, log_prob = scored_draws(q, shape)
        assert z.shape == (*shape, 5, Z)
        assert log_prob.shape == (*shape, 5)
        assert q.rsample(shape).shape == q.sample(shape).shape == z.shape
        if name != "planar":
            torch.testing.assert_close(q.log_prob(z), log_prob, rtol=1e-4, atol=1e-4)
    assert q.rsample().requires_grad == any(parameter.requires_grad for parameter in head.parameters())


def test_parameters_are_those_of_their_own_example(head):
    params = params_for(head)
    whole = scored(head(params), 3)
    other = params.clone()
    other[2] += 1.0
    changed = scored(head(other), 3)
    same = torch.arange(5) != 2
    torch.testing.assert_close(changed.z[:, same], whole.z[:, same])
    torch.testing.assert_close(changed.log_prob[:, same], whole.log_prob[:, same])
    assert (changed.z[:, 2] != whole.z[:, 2]).any()


def test_rows_are_the_members_of_the_batch(head):
    params, index = params_for(head), torch.tensor([3, 0, 3])
    torch.testing.assert_close(scored(head(params).rows(index), 3), scored(head(params[index]), 3))


def test_gradients_reach_all_that_is_read_and_stay_finite_far_out(head):
    params = (params_for(head) * 5).requires_grad_()
    z, log_prob = scored(head(params), 3)
    (z.tanh().sum() + log_prob.sum()).backward()
    assert params.grad.isfinite().all()
    assert (params.grad[:, :2] != 0).any(0).all()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


def test_half_precision_parameters_are_read_in_single(head):
    params = params_for(head).bfloat16()
    torch.testing.assert_close(scored(head(params), 3), scored(head(params.float()), 3), rtol=0, atol=0)


def test_single_precision_follows_double(head):
    params = params_for(head)
    torch.manual_seed(1)
    q, exact = head(params), copy.deepcopy(head).double()(params.double())
    z = q.rsample((3,))
    try:
        found, expected = q.log_prob(z), exact.log_prob(z.double())
    except UserError:  # no inverse: the map itself is compared
        found, expected = q.flow(z, q.context), exact.flow(z.double(), exact.context)
        found, expected = (
            torch.cat([found.z.flatten(), found.log_det.flatten()]),
            torch.cat([expected.z.flatten(), expected.log_det.flatten()]),
        )
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_too_few_parameters_are_told_in_one_line(head):
    with pytest.raises(UserError, match=f"params_per_output {head.params_per_output}$") as error:
        head(torch.zeros(5, 1, Z))
    assert "\n" not in str(error.value)
