import copy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lit_gen.models.moving_average import ExponentialMovingAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def change(network: nn.Module) -> None:
    with torch.no_grad():
        network(torch.randn(8, 3))  # moves the running statistics
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for (name, mine), (_, theirs) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        if "num_batches_tracked" not in name:
            torch.testing.assert_close(mine, theirs, msg=name)


def test_it_is_a_copy_from_the_start():
    followed = network()
    average = ExponentialMovingAverage(followed, 0.9)
    change(followed)
    assert not torch.equal(average.module[0].weight, followed[0].weight)
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_it_goes_as_torchs_and_counts_batches_as_the_network():
    followed = network()
    ours = ExponentialMovingAverage(followed, 0.9)
    theirs = AveragedModel(followed, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(5):
        change(followed)
        ours.update_parameters(followed)
        theirs.update_parameters(followed)
    assert_same(ours, theirs)
    assert ours.n_averaged == 5
    assert ours.module[1].num_batches_tracked == followed[1].num_batches_tracked == 5


def test_it_goes_on_from_a_saved_state_and_after_a_move():
    followed = network()
    ours = ExponentialMovingAverage(followed, 0.9)
    change(followed)
    ours.update_parameters(followed)
    other = ExponentialMovingAverage(copy.deepcopy(followed), 0.9)
    other.load_state_dict(ours.state_dict())
    change(followed)
    followed.double()
    for average in (ours, other):
        average.double()
        average.update_parameters(followed)
    assert_same(ours, other)
    assert not torch.equal(ours.module[0].weight, followed[0].weight)


def test_a_state_of_before_the_first_update_begins_again():
    followed = network()
    ours = ExponentialMovingAverage(followed, 0.9)
    begun = copy.deepcopy(ours.state_dict())
    for _ in range(2):
        change(followed)
        ours.update_parameters(followed)
    ours.load_state_dict(begun)
    ours.update_parameters(followed)
    assert_same(ours.module, followed)
