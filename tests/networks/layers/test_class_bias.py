"""Biases of classes: of each layer's own, of each class's own, and none without classes."""

import torch

from lit_gen.networks.layers.class_bias import ClassBiases, add_to_images


def test_each_example_gets_the_biases_of_its_class_layer_by_layer():
    biases = ClassBiases(num_classes=3, num_layers=2, width=4)
    assert biases.weight.count_nonzero() == 0
    torch.nn.init.normal_(biases.weight)
    first, second = biases.of(torch.tensor([2, 0, 2]))
    assert torch.equal(first, biases.weight[[2, 0, 2], 0])
    assert torch.equal(second, biases.weight[[2, 0, 2], 1])


def test_a_bias_is_the_same_wherever_in_the_image():
    x, bias = torch.rand(2, 3, 4, 5), torch.rand(2, 3)
    moved = add_to_images(x, bias) - x
    torch.testing.assert_close(moved, bias.view(2, 3, 1, 1).expand_as(x))


def test_without_classes_there_are_none():
    biases = ClassBiases(num_classes=None, num_layers=2, width=4)
    assert not list(biases.parameters())
    assert biases.of(None) == [None, None]
    x = torch.rand(2, 3, 4, 5)
    assert add_to_images(x, None) is x
