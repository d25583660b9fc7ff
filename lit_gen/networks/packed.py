"""A discriminator that judges several examples at once."""

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.networks.wrapper import Wrapper


class Packed(Wrapper):
    """A network that is given every m consecutive examples as one: (B, *in_shape) -> scores (B / m,).

    Images are stacked along the channels, vectors put one after another. A generator that has lost modes makes packs
    that differ from real ones more than single examples do: Lin, Khetan, Fanti & Oh, PacGAN: The power of two samples
    in generative adversarial networks (2018), https://arxiv.org/abs/1712.04086

    In training m must divide the batch. In evaluation the last pack is filled up with the examples before it, so that
    every example is judged: (ceil(B / m),) scores, which depend on the examples that come together. Over several
    processes a pack is of one process's examples, every world_size-th of the joint batch: other packs than one process
    would make, of the same distribution.

    Args:
        network: the discriminator of packs: its inputs have m times as many channels, or numbers, as an example.
        num_packed: m.

    Raises:
        UserError: the network doesn't say its ``in_shape``, m doesn't divide its first size, or it is packed already;
            in training, m doesn't divide the batch.
    """

    def __init__(self, network: nn.Module, num_packed: int = 2) -> None:
        super().__init__(network)
        shape = tuple(getattr(network, "in_shape", ()))
        if num_packed < 1 or not shape or shape[0] % num_packed:
            raise UserError(
                f"Packed needs a network whose in_shape begins with {num_packed} times an example's channels or "
                f"numbers, but a {type(network).__name__}'s is {shape or 'not told'}"
            )
        if hasattr(network, "num_packed"):
            raise UserError(f"Packed goes around a network once: a {type(network).__name__} is packed already")
        self.num_packed = num_packed
        self.in_shape = (shape[0] // num_packed, *shape[1:])

    def enter(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B / m, m * C, ...)."""
        lacking = -len(x) % self.num_packed
        if lacking and self.training:
            raise UserError(
                f"a batch of {len(x)} examples does not fall into packs of {self.num_packed}: choose a batch_size that "
                f"num_packed divides, on every rank, and drop the last batch where it is smaller"
            )
        if lacking:
            before = torch.arange(lacking, device=x.device) + len(x) - self.num_packed
            x = torch.cat([x, x[before % len(x)]])
        return x.reshape(len(x) // self.num_packed, self.num_packed * x.shape[1], *x.shape[2:])

    def _reconstruct(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...), each example as its pack's reconstruction has it."""
        return self.network.reconstruct(self.enter(x)).reshape(-1, *x.shape[1:])[: len(x)]
