"""Holding a module's parameters still while a graph is built through it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(part: nn.Module | Sequence[nn.Parameter]) -> Iterator[None]:
    """Graphs built within the block hold no gradients for these parameters, though they pass through them.

    ``part`` is a module, or its parameters where somebody has listed them: looking them up is felt in a small model.
    """
    parameters = part.parameters() if isinstance(part, nn.Module) else part
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad = True
