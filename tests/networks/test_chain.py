import torch
from torch import nn

from lit_gen.networks.chain import Chain


def test_parts_follow_each_other_and_are_numbered():
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    chain = Chain([first, nn.Tanh(), second])
    x = torch.randn(5, 3)
    assert torch.equal(chain(x), second(first(x).tanh()))
    assert set(chain.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
