import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.models.dry_run import try_network, undisturbed


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(3)).eval())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    with undisturbed(model, torch.device("cpu")):
        y = model(torch.randn(2, 3))
        assert not y.requires_grad
        assert not model[0].training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [True, True, False]
    assert not model[2][0].training


def test_the_modes_come_back_after_an_error():
    model = nn.Linear(2, 2)
    with pytest.raises(UserError), undisturbed(model, torch.device("cpu")):
        try_network("the net", model, torch.zeros(2, 3), "the data")
    assert model.training


def test_a_network_that_says_its_shape_is_told_both():
    network = nn.Linear(4, 2)
    network.in_shape = (4,)
    with pytest.raises(UserError, match=r"the decoder takes inputs of shape \(4,\), but the codes have shape \(3,\)"):
        try_network("the decoder", network, torch.zeros(2, 3), "the codes")


def test_any_other_network_is_told_in_one_line_why():
    with pytest.raises(UserError, match=r"the decoder does not take inputs of shape \(3,\).*2x3 and 4x2") as error:
        try_network("the decoder", nn.Linear(4, 2), torch.zeros(2, 3), "the codes")
    assert "\n" not in str(error.value)
