"""Run as a script: discriminators that look at the batch, on two gloo ranks against one process on the joint batch."""

import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from lit_gen.distributed import average_gradients, gather_over_ranks, leave_together
from lit_gen.errors import UserError
from lit_gen.networks.layers.minibatch import MinibatchDiscrimination, MinibatchStandardDeviation
from lit_gen.networks.mlp_discriminator import MLPDiscriminator

LAYERS = (
    lambda features: MinibatchDiscrimination(features, 4, 2),
    MinibatchStandardDeviation,
    lambda features: MinibatchStandardDeviation(features, 4),  # of 6 examples a rank: a group spans the ranks
)


def problem() -> Tensor:
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def discriminator(make) -> nn.Module:
    torch.manual_seed(1)
    return MLPDiscriminator(3, [8], nn.Tanh, minibatch=make).double()


def step(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and their sum's gradient by the input; the parameters' gradients are those of a penalized loss."""
    x = x.clone().requires_grad_()
    scores = network(x)
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    (scores.square().mean() + gradient.square().sum(1).mean()).backward()
    return scores.detach(), gradient.detach()


def compare(make, expected: list[Tensor], rank: int) -> None:
    x, share = problem(), slice(6 * rank, 6 * rank + 6)
    network = discriminator(make)
    scores, gradient = step(network, x[share])
    average_gradients(network.parameters())
    torch.testing.assert_close(scores, expected[0][share])
    torch.testing.assert_close(gradient, expected[1][share])
    for (name, parameter), other in zip(network.named_parameters(), expected[2:], strict=True):
        assert parameter.grad.abs().sum() > 0, name
        torch.testing.assert_close(parameter.grad, other)
    # An evaluation on one rank alone must not wait for the other.
    if rank == 0:
        torch.testing.assert_close(network.eval()(x), expected[0])


def in_one_process(make) -> list[Tensor]:
    network = discriminator(make)
    return [*step(network, problem()), *(parameter.grad for parameter in network.parameters())]


def worker(rank: int, init_file: str) -> None:
    expected = [in_one_process(make) for make in LAYERS]
    dist.init_process_group("gloo", init_method=f"file://{init_file}", rank=rank, world_size=2)
    for make, values in zip(LAYERS, expected, strict=True):
        compare(make, values, rank)
    try:
        gather_over_ranks(torch.zeros(3 + rank, 2))
    except UserError as error:
        assert "[3, 4]" in str(error)
    else:
        raise AssertionError("unequal shares were gathered")
    leave_together()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(worker, args=(f"{folder}/init",), nprocs=2)
    print("agrees")
