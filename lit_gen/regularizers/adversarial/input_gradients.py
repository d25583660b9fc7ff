"""Gradients of scores in what is judged."""

import torch
from torch import Tensor

from lit_gen.protocols import Judged
from lit_gen.tensor import at_least_single


def input_gradients(judged: Judged) -> Tensor:
    """(S, F): for each score its gradient in the examples that it was read off, flattened; itself differentiable.

    Of scores that see several examples each (S = B / m) the gradient is in all of them. A discriminator in which
    examples of a batch see each other, as by batch norm, has no such thing as an example's own gradient: each then is
    of the sum of all scores.
    """
    if judged.gradients is not None:
        return judged.gradients
    x, scores = judged.x, judged.scores
    [gradient] = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return at_least_single(gradient).reshape(len(scores), -1)


def slopes(judged: Judged) -> Tensor:
    """(S,): the Euclidean norm of each score's gradient, of which even a slope of zero has a derivative."""
    return (input_gradients(judged).square().sum(1) + 1e-12).sqrt()
