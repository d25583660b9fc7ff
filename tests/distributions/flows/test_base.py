import pytest
import torch

from lit_gen.distributions.flows.base import FlowSequence, Reversal
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.flows.planar import Planar
from lit_gen.distributions.flows.realnvp import RealNVP
from lit_gen.errors import UserError


def test_a_sequence_maps_in_order_and_gives_each_flow_its_own_part_of_the_context():
    torch.manual_seed(0)
    first, second = Planar(4, 2), Planar(4, 1)
    both = FlowSequence([first, second])
    assert both.context_dim == first.context_dim + second.context_dim == 27
    z, context = torch.randn(3, 5, 4), torch.randn(5, 27)
    inner = first(z, context[:, :18])
    outer = second(inner.z, context[:, 18:])
    mapped = both(z, context)
    torch.testing.assert_close(mapped.z, outer.z)
    torch.testing.assert_close(mapped.log_det, inner.log_det + outer.log_det)


def test_reversal_is_its_own_inverse():
    flow, z = Reversal(4), torch.randn(3, 4)
    assert flow(z).z.tolist() == z[:, [3, 2, 1, 0]].tolist()
    assert torch.equal(flow.inverse(flow(z).z).z, z)


def test_flows_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"one dim, got \[2, 4\]"):
        FlowSequence([Reversal(2), Reversal(4)])
    with pytest.raises(UserError, match="no flows"):
        FlowSequence([])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Planar(2, 0), "Planar flow's num_layers must be at least 1, got 0"),
        (lambda: IAF(2, 0, [4]), "IAF flow's num_steps must be at least 1, got 0"),
        (lambda: RealNVP(2, 0, [4]), "RealNVP flow's num_layers must be at least 1, got 0"),
        (lambda: RealNVP(2, 1, [4], -1), "context_dim must not be negative, got -1"),
        (lambda: IAF(2, 1, [4, 0]), r"hidden_dims must be at least 1, got \[4, 0\]"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
