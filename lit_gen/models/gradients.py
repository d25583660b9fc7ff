"""Gradients between two steps."""

from torch.optim import Optimizer


def clear_gradients(optimizer: Optimizer) -> None:
    """What ``optimizer.zero_grad()`` does, without telling a profiler: half the Python of a small model's zeroing.

    An optimizer that zeroes in a way of its own is left to it.
    """
    if getattr(optimizer.zero_grad, "__func__", None) is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
