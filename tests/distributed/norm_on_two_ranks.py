"""Run as a script: batch norm on two gloo ranks against torch's own on the joint batch."""

import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from lit_gen.distributed import leave_together
from lit_gen.networks.layers.norm import BatchNorm2d

SHARES = ((0, 5), (5, 12))  # unequal on purpose


def problem() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 3, 4, 4, generator=generator, dtype=torch.float64) * 2 + 5
    return x, torch.randn(12, 3, 4, 4, generator=generator, dtype=torch.float64)


def run(layer: nn.Module, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    layer = layer.double()
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    x = x.clone().requires_grad_()
    y = layer(x)
    (y * target).tanh().sum().backward()
    return y, x.grad


def penalized(layer: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The weight's gradient of a penalty on the gradient by the input: it goes through the statistics twice."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((layer(x) * target).tanh().sum(), x, create_graph=True)
    (weight,) = torch.autograd.grad(gradient.square().sum(), layer.weight)
    return weight


def worker(rank: int, init_file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=2)
    for momentum in (0.1, None):
        torch.manual_seed(3)
        whole = nn.BatchNorm2d(3, momentum=momentum)
        x, target = problem()
        y, gradient = run(whole, x, target)
        torch.manual_seed(3)
        ours = BatchNorm2d(3, momentum=momentum)
        share = slice(*SHARES[rank])
        our_y, our_gradient = run(ours, x[share], target[share])
        torch.testing.assert_close(our_y, y[share])
        torch.testing.assert_close(our_gradient, gradient[share])
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            torch.testing.assert_close(getattr(ours, name), getattr(whole, name))
        for name in ("weight", "bias"):
            total = getattr(ours, name).grad.clone()
            dist.all_reduce(total)
            torch.testing.assert_close(total, getattr(whole, name).grad)
        total = penalized(ours, x[share], target[share])
        dist.all_reduce(total)
        torch.testing.assert_close(total, penalized(whole, x, target))
        # An evaluation on one rank alone must not wait for the other.
        if rank == 0:
            torch.testing.assert_close(ours.eval()(x), whole.eval()(x))
    half = BatchNorm2d(3)(problem()[0][:4].bfloat16())
    assert half.dtype == torch.bfloat16
    leave_together()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, args=(f"{folder}/init",), nprocs=2)
    print("agrees")
