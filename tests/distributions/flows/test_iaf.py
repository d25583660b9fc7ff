import torch
from torch import nn
from torch.autograd.functional import jacobian

from lit_gen.distributions.flows.iaf import IAF, INITIAL_GATE, IAFStep


def test_a_steps_jacobian_is_triangular_with_the_gate_on_its_diagonal():
    torch.manual_seed(0)
    step = IAFStep(4, [12], 2).double()
    for parameter in step.parameters():
        nn.init.normal_(parameter)
    z, context = torch.randn(4).double(), torch.randn(2).double()
    found = jacobian(lambda own: step(own, context).z, z)
    assert torch.equal(found, found.tril())
    gate = (step.network(z, context)[1] + INITIAL_GATE).sigmoid()
    torch.testing.assert_close(found.diagonal(), gate)


def test_a_step_is_equation_14():
    torch.manual_seed(0)
    step = IAFStep(3, [8])
    for parameter in step.parameters():
        nn.init.normal_(parameter)
    z = torch.randn(6, 3)
    shift, logit = step.network(z).unbind(-2)
    gate = torch.sigmoid(logit + INITIAL_GATE)
    torch.testing.assert_close(step(z).z, gate * z + (1 - gate) * shift)


def test_it_starts_near_the_identity_and_alike_for_all():
    flow, z = IAF(4, 2, [8], 3), torch.randn(7, 5, 4)
    mapped = flow(z, torch.randn(5, 3 * 2))
    gate = torch.tensor(INITIAL_GATE).sigmoid()
    torch.testing.assert_close(mapped.z, z * gate**2)
    torch.testing.assert_close(mapped.log_det, (8 * gate.log()).expand(7, 5))


def test_an_odd_or_single_coordinate_is_no_hindrance():
    for dim in (1, 3):
        flow, z = IAF(dim, 2, [4], 2), torch.randn(5, dim)
        context = torch.randn(5, 4)
        torch.testing.assert_close(flow.inverse(flow(z, context).z, context).z, z)
