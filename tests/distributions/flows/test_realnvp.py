import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from lit_gen.distributions.flows.realnvp import MAX_LOG_SCALE, AffineCoupling, RealNVP
from lit_gen.errors import UserError


@pytest.mark.parametrize("dim", [1, 5])
def test_an_odd_latent_is_told_in_one_line(dim):
    with pytest.raises(UserError, match=f"halves the code, so that its dim must be even, got {dim}") as error:
        RealNVP(dim, 2, [4])
    assert "\n" not in str(error.value)


def test_it_starts_as_a_permutation():
    flow, z = RealNVP(4, 2, [8], 3), torch.randn(7, 5, 4)
    mapped = flow(z, torch.randn(5, 6))
    assert torch.equal(mapped.z, z)  # two reversals
    assert (mapped.log_det == 0).all()


def test_a_coupling_leaves_one_half_and_two_change_every_coordinate_by_every_other():
    torch.manual_seed(0)
    coupling, flow = AffineCoupling(4, [8]).double(), RealNVP(4, 3, [8]).double()
    for parameter in (*coupling.parameters(), *flow.parameters()):
        nn.init.normal_(parameter)
    z = torch.randn(4).double()
    found = jacobian(lambda own: coupling(own).z, z)
    assert torch.equal(found[:2], torch.eye(2, 4).double())
    assert torch.equal(found[2:, 2:], found[2:, 2:].diagonal().diag())
    assert (found[2:, :2] != 0).all()
    assert (jacobian(lambda own: flow(own).z, z) != 0).all()


def test_scales_are_bounded():
    coupling = AffineCoupling(2, [])
    nn.init.constant_(coupling.network.layers[0].bias, 1000.0)
    assert coupling(torch.zeros(1, 2)).log_det.item() == pytest.approx(MAX_LOG_SCALE)
