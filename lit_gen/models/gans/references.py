"""The fixed batches that networks with reference statistics look at."""

from itertools import islice

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from lit_gen.distributed import gather_over_ranks, world_size
from lit_gen.errors import UserError
from lit_gen.protocols import TakesReference


def networks_with_reference(player: nn.Module) -> list[TakesReference]:
    """Those parts of a player that want a reference batch."""
    return [part for part in player.modules() if isinstance(part, TakesReference)]


@torch.no_grad()
def reference_examples(data: LightningDataModule, num: int, device: torch.device) -> Tensor:
    """(num, *event_shape) training examples, shuffled as the training's are and alike on all ranks.

    Raises:
        UserError: the training split's whole batches hold fewer.
    """
    held, loader = data.num_examples("train"), data.train_dataloader()
    if num > held:
        raise UserError(f"a reference batch of {num} examples is larger than the training split, which holds {held}")
    in_batches = len(loader) * data.batch_size
    if num > in_batches:
        raise UserError(
            f"a reference batch of {num} examples is larger than the training split's whole batches of "
            f"{data.batch_size}, which hold {in_batches} of its {held}"
        )
    kept: list[Tensor] = []
    # Every rank takes as many batches of the joint stream, each rank its share.
    num_batches = -(-num // data.batch_size)
    for batch in islice(iter(loader), num_batches):
        joint = gather_over_ranks(batch.x.to(device)).unflatten(0, (world_size(), -1))
        kept.append(joint.transpose(0, 1).flatten(0, 1))  # rank r of n holds examples r, r + n, ...
    return torch.cat(kept)[:num]
