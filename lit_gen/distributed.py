"""The few collective operations that are not Lightning's: each does nothing in a single process."""

import contextlib
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """Number of processes that train or evaluate together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number in [0, world_size)."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def leave_together() -> None:
    """Wait for the other ranks and end the process group: what a process does last.

    A rank that goes while its group's threads still run, or while another still talks to it, can abort at exit. Where
    another rank has failed and is gone already, there is nobody to wait for.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    with contextlib.suppress(RuntimeError):
        dist.barrier()
    dist.destroy_process_group()


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sum of ``x`` over all ranks, in place, not differentiable."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks, in one collective call.

    Every rank must hold gradients for the same parameters. With equal shares of a batch this makes the gradient of a
    mean loss that of the joint batch.
    """
    size = world_size()
    if size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch._utils._flatten_dense_tensors(gradients)
    dist.all_reduce(flat)
    flat /= size
    for gradient, mean in zip(gradients, torch._utils._unflatten_dense_tensors(flat, gradients), strict=True):
        gradient.copy_(mean)
