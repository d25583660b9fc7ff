"""Trying a model's parts on each other before the first step, so that sizes that don't fit are told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.randomness import seeded


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within the block the model is in evaluation mode and records no graph; afterwards nothing has changed.

    Running statistics, the modes of all submodules and torch's random state are as they were.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), seeded(0, device):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def try_network(name: str, network: nn.Module, x: Tensor, source: str) -> Tensor:
    """What ``network`` makes of ``x``.

    Args:
        name: what to call the network, as "the decoder".
        network: the network.
        x: a small batch.
        source: where x comes from, as "the prior's latents".

    Raises:
        UserError: it doesn't take inputs of that shape.
    """
    shape = tuple(x.shape[1:])
    wanted = getattr(network, "in_shape", None)
    if wanted is not None and tuple(wanted) != shape:
        raise UserError(f"{name} takes inputs of shape {tuple(wanted)}, but {source} have shape {shape}")
    try:
        return network(x)
    except UserError:
        raise
    except Exception as error:  # the network may be anybody's
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{name} does not take inputs of shape {shape}, as {source} are: {reason}") from error


def data_shape(model) -> tuple[int, ...] | None:
    """The shape of one example of the trainer's data module; None where there is no data module that says."""
    shape = getattr(getattr(model.trainer, "datamodule", None), "event_shape", None)
    return None if shape is None else tuple(shape)


def check_splits(model) -> None:
    """Show ``model.check_data`` every example of every split once, each rank its share.

    Of data that are binarized or can't be read in order, its batches must do as they come.

    Raises:
        UserError: as ``check_data``.
    """
    trainer = model.trainer
    data = trainer.datamodule
    if getattr(data, "binarization", None) == "none" and hasattr(data, "reference_loader"):
        for split in ("train", "val", "test"):
            if data.num_examples(split):
                for batch in islice(data.reference_loader(split), int(trainer.fast_dev_run) or None):
                    model.check_data(batch.x)
