import pytest
import torch

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.errors import UserError
from lit_gen.models.autoregressive.autoregressive_model import AutoregressiveModel
from lit_gen.models.autoregressive.drawing import num_cells_of_rows
from lit_gen.networks.autoregressive.belief_network import FullyVisibleBeliefNetwork
from lit_gen.networks.autoregressive.multi_scale import MultiScale
from lit_gen.networks.autoregressive.pixelrnn import DiagonalBiLSTM, RowLSTM

FEW = {"hidden": 6, "num_layers": 1, "head_features": 48}


def two_scales(shape=(1, 5, 4), small_shape=(1, 3, 2), **kwargs) -> MultiScale:
    torch.manual_seed(0)
    small = DiagonalBiLSTM(small_shape, **FEW)
    return MultiScale(small, RowLSTM(shape, condition_features=4, **FEW), **kwargs).double()


def test_the_small_image_comes_first_then_the_rest_by_rows():
    order = two_scales((1, 3, 4), (1, 2, 2)).order()
    assert order.tolist() == [0, 2, 8, 10, 1, 3, 4, 5, 6, 7, 9, 11]


def test_channels_of_a_pixel_stay_together():
    order = two_scales((3, 2, 2), (3, 1, 1)).order()
    assert order.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_its_density_is_that_of_the_small_image_times_that_of_the_rest():
    network = two_scales()
    x = torch.rand(3, 1, 5, 4).round().double()
    small = x[:, :, ::2, ::2]
    model = AutoregressiveModel(network, BernoulliHead())
    of_small = AutoregressiveModel(network.small, BernoulliHead()).log_prob(small)
    logits = network.large(x, condition=network.condition(small))[:, 0]
    of_pixels = -torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    rest = torch.ones(5, 4, dtype=torch.bool)
    rest[::2, ::2] = False
    torch.testing.assert_close(model.log_prob(x), of_small + of_pixels[:, 0, rest].sum(1))


def test_the_rest_sees_all_of_the_small_image_within_reach():
    network = two_scales()
    x = torch.rand(2, 1, 5, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[:, 0, 0, 0, 1].sum(), x)
    sees = (gradient != 0).any(0)[0]
    expected = torch.zeros(5, 4, dtype=torch.bool)
    expected[::2, ::2] = True
    assert torch.equal(sees, expected)


@pytest.mark.parametrize(
    ("shape", "small_shape"), [((1, 7, 8), (1, 3, 3)), ((3, 5, 3), (3, 2, 1)), ((1, 1, 5), (1, 1, 3))]
)
def test_its_stepper_at_other_scales(shape, small_shape):
    network = two_scales(shape, small_shape)
    x = torch.rand(2, *shape, dtype=torch.float64)
    with torch.no_grad():
        whole, stepper, previous = network(x).flatten(2), network.stepper(2), None
        for cell in network.order().tolist():
            torch.testing.assert_close(stepper(previous), whole[:, :, cell], rtol=1e-8, atol=1e-8)
            previous = x.view(2, 1, -1)[:, :, cell]


def test_scales_may_be_stacked():
    middle = MultiScale(FullyVisibleBeliefNetwork((1, 2, 2)), RowLSTM((1, 4, 4), condition_features=3, **FEW))
    network = MultiScale(middle, DiagonalBiLSTM((1, 8, 8), condition_features=3, **FEW)).double()
    order = network.order()
    assert order[:5].tolist() == [0, 4, 32, 36, 2]
    assert order.sort().values.tolist() == list(range(64))
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        whole, stepper, previous = network(x).flatten(2), network.stepper(2), None
        for cell in order.tolist():
            torch.testing.assert_close(stepper(previous), whole[:, :, cell], rtol=1e-8, atol=1e-8)
            previous = x.view(2, 1, -1)[:, :, cell]


def test_the_rest_of_an_image_given_its_first_rows_is_refused():
    with pytest.raises(UserError, match="doesn't tell its cells row by row"):
        num_cells_of_rows(two_scales(), 2)


def test_networks_that_do_not_fit_are_refused():
    large = RowLSTM((1, 8, 8), condition_features=3, **FEW)
    with pytest.raises(UserError, match="every s-th row and column"):
        MultiScale(RowLSTM((1, 3, 4), **FEW), large)
    with pytest.raises(UserError, match="every s-th row and column"):
        MultiScale(RowLSTM((1, 8, 8), **FEW), large)
    with pytest.raises(UserError, match="condition_features"):
        MultiScale(RowLSTM((1, 4, 4), **FEW), RowLSTM((1, 8, 8), **FEW))
    with pytest.raises(UserError, match="same params_per_output"):
        MultiScale(RowLSTM((1, 4, 4), 2, **FEW), large)
    with pytest.raises(UserError, match="num_convolutions"):
        MultiScale(RowLSTM((1, 4, 4), **FEW), large, num_convolutions=0)
