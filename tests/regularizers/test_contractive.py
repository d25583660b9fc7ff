"""The contractive penalty against autograd's Jacobian, the paper's closed form and finite differences."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from lit_gen.errors import UserError
from lit_gen.networks.conv import ConvEncoder
from lit_gen.networks.layers.norm import BatchNorm1d
from lit_gen.networks.mlp import MLP
from lit_gen.regularizers.contractive import Contractive


def with_batch_norm():
    norm = BatchNorm1d(7)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7), norm, nn.Tanh(), nn.Dropout(0.5), nn.Linear(7, 4))


ENCODERS = {
    "mlp": lambda: MLP((1, 8, 8), 5, [9], nn.Tanh),
    "mlp_wider_than_its_input": lambda: MLP((1, 8, 8), 70, [9], nn.Softplus),
    "convolutional": lambda: ConvEncoder((1, 8, 8), 5, params_per_output=1, base_channels=4),
    "batch_norm_and_dropout": with_batch_norm,
}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return ENCODERS[request.param]().double()


def images(count=3, seed=1):
    return torch.rand(count, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_equals_the_norm_of_autograds_jacobian_of_each_example(encoder):
    x = images()
    penalty = Contractive(0.5)(encoder.train(), x, encoder(x))
    encoder.eval()
    expected = [jacobian(encoder, example[None]).square().sum() for example in x]
    assert penalty.shape == (3,)
    torch.testing.assert_close(penalty, 0.5 * torch.stack(expected))


def test_leaves_modes_and_running_statistics_as_they_were(encoder):
    x = images()
    encoder.train()
    encoder[-1].eval() if isinstance(encoder, nn.Sequential) else None
    modes = [module.training for module in encoder.modules()]
    code = encoder(x)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    Contractive(1.0)(encoder, x, code).sum().backward()
    assert [module.training for module in encoder.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())


def test_one_sigmoid_layer_has_the_papers_closed_form():
    """Rifai et al. 2011: sum_j (h_j (1 - h_j))^2 sum_i W_ji^2."""
    torch.manual_seed(0)
    encoder = MLP((1, 8, 8), 12, [], output_activation=nn.Sigmoid).double()
    x = images()
    h, weight = encoder(x), encoder.layers[0].weight
    expected = ((h * (1 - h)).square() * weight.square().sum(1)).sum(1)
    torch.testing.assert_close(Contractive(1.0)(encoder, x, h), expected)
    expected.sum().backward()
    gradient = weight.grad.clone()
    encoder.zero_grad()
    Contractive(1.0)(encoder, x, h).sum().backward()
    torch.testing.assert_close(weight.grad, gradient)


@pytest.mark.parametrize("dims", [(6, 3), (3, 6)], ids=["rows", "columns"])
@pytest.mark.parametrize("num_projections", [None, 2])
def test_gradient_in_the_weights_equals_finite_differences(dims, num_projections):
    torch.manual_seed(0)
    encoder = MLP(*dims, [4], nn.Tanh).double()
    x = torch.randn(3, dims[0], dtype=torch.float64)
    code = encoder(x).detach()
    first = encoder.layers[0].weight

    def penalty(weight):
        torch.manual_seed(3)  # the same projections at every call
        encoder.layers[0].weight = nn.Parameter(weight.detach())
        value = Contractive(0.7, num_projections)(encoder, x, code).sum()
        return value, encoder.layers[0].weight

    value, leaf = penalty(first)
    (gradient,) = torch.autograd.grad(value, leaf)
    for row, column in [(0, 0), (2, 1), (3, 2)]:
        step = torch.zeros_like(first)
        step[row, column] = 1e-5
        slope = (penalty(first + step)[0] - penalty(first - step)[0]) / 2e-5
        torch.testing.assert_close(gradient[row, column], slope, rtol=1e-6, atol=1e-9)


def test_the_projections_estimate_without_bias_and_differ_between_examples():
    """The mean of 20,000 estimates lies within 4 of its standard errors, and one estimate isn't exact."""
    torch.manual_seed(0)
    encoder = MLP((1, 8, 8), 6, [9], nn.Tanh).double()
    x = images(1).expand(20_000, 1, 8, 8)
    code = encoder(x[:1]).expand(20_000, 6)
    exact = Contractive(1.0)(encoder, x[:1], code[:1]).item()
    for num_projections in (1, 3):
        estimates = Contractive(1.0, num_projections)(encoder, x, code).detach()
        standard_error = estimates.std() / len(estimates) ** 0.5
        assert estimates.std() > 0.05 * exact
        assert abs(estimates.mean() - exact) < 4 * standard_error
    assert standard_error < 0.01 * exact


@pytest.mark.parametrize(
    "arguments", [{"weight": -0.1}, {"weight": float("nan")}, {"weight": 1.0, "num_projections": 0}]
)
def test_refuses_arguments_out_of_range(arguments):
    with pytest.raises(UserError, match=r"Contractive needs .*, got"):
        Contractive(**arguments)
