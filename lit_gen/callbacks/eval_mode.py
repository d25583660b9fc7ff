"""Measuring a model without a trace of it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Within the block every part of ``model`` is in evaluation mode and no graph is recorded.

    Afterwards each part is in the mode in which it was: a part that its owner froze stays frozen.
    """
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in was_training:
            module.training = True
