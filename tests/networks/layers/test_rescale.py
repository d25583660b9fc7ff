import torch

from lit_gen.networks.layers.rescale import Rescale


def test_there_and_back():
    x = torch.tensor([0.0, 0.25, 1.0])
    there = Rescale(scale=2.0, shift=-1.0)(x)
    assert there.tolist() == [-1.0, -0.5, 1.0]
    assert Rescale(scale=0.5, shift=0.5)(there).tolist() == x.tolist()
