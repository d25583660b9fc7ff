"""The few collective operations that are not Lightning's: each does nothing in a single process."""

import contextlib
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lit_gen.errors import UserError


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


class _GatherOverRanks(torch.autograd.Function):
    """(B, ...) -> (R * B, ...), every rank's in rank order."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        shares = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(shares, x.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _SumOfShare.apply(gradient)


class _SumOfShare(torch.autograd.Function):
    """(R * B, ...) -> (B, ...), this rank's share of the sum over ranks: the transpose of ``_GatherOverRanks``.

    A function of its own, so that a gradient through it can be differentiated again.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = sum_over_ranks(x.clone(memory_format=torch.contiguous_format))
        return total.chunk(world_size())[rank()].clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _GatherOverRanks.apply(gradient)


def gather_over_ranks(x: Tensor) -> Tensor:
    """(B, ...) of this rank -> (R * B, ...) of all R ranks, in rank order; ``x`` itself in a single process.

    Differentiable, any number of times: what every rank's loss owes to an example is summed at the rank that holds it,
    so that the mean over ranks of the gradients is that of the mean loss of the joint batch. Every rank must call it,
    and backpropagate through it, as often.

    Raises:
        UserError: on every rank, where they hold different numbers of examples.
    """
    size = world_size()
    if size == 1:
        return x
    counts = torch.zeros(size, dtype=torch.int64, device=x.device)
    counts[rank()] = len(x)
    counts = sum_over_ranks(counts).tolist()
    if len(set(counts)) > 1:
        raise UserError(
            f"a batch can only be gathered from ranks that hold equally many examples of it, but they hold {counts}: "
            f"choose a batch_size that the ranks divide, and drop the last batch where it is smaller"
        )
    return _GatherOverRanks.apply(x)


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
