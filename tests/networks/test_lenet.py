import torch

from lit_gen.networks.lenet import LeNet


def test_the_published_count_of_parameters():
    # 6 (25 + 1) + 16 (6 * 25 + 1) + 120 (400 + 1) + 84 (120 + 1) + 10 (84 + 1)
    assert sum(parameter.numel() for parameter in LeNet().parameters()) == 61_706


def test_logits_for_each_image():
    x = torch.rand(3, 1, 28, 28)
    network = LeNet(num_classes=7, dropout=0.5).eval()
    assert network(x).shape == (3, 7)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))
