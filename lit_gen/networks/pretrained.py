"""A network that starts from what an earlier run has learnt."""

import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError


class Pretrained(nn.Module):
    """``network`` with the weights of a part of a checkpoint: any run's encoder, below a head of one's own.

    The weights are read when the model is built, so the file must be there then, also for ``validate`` and ``test``,
    which go on to load their own checkpoint over them. They train on like any others.

    Args:
        network: of the same layout as the part.
        checkpoint: a .ckpt file of a run, such as ``runs/…/checkpoints/last.ckpt``.
        prefix: the part's name in the checkpoint's model, as ``encoder``.

    Raises:
        UserError: the file is missing or no checkpoint, or the part isn't there or doesn't fit.
    """

    def __init__(self, network: nn.Module, checkpoint: str, prefix: str) -> None:
        super().__init__()
        self.network = network
        state = read_state(Path(checkpoint).expanduser())
        part = {name[len(prefix) + 1 :]: value for name, value in state.items() if name.startswith(f"{prefix}.")}
        if not part:
            roots = ", ".join(dict.fromkeys(name.split(".")[0] for name in state))
            raise UserError(f"{checkpoint} has no weights named {prefix}.…; there are {roots or 'none at all'}.")
        try:
            network.load_state_dict(part)
        except RuntimeError as error:
            reason = " ".join(str(error).split("\n\t")[-1].split())
            raise UserError(f"{prefix} of {checkpoint} does not fit the network: {reason}") from error

    def forward(self, x: Tensor) -> Tensor:
        """As the network."""
        return self.network(x)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of the model in a Lightning checkpoint, on the CPU; nothing in the file is executed.

    Raises:
        UserError: there is no such file, or it isn't a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return dict(content["state_dict"])
    except FileNotFoundError:
        raise UserError(f"There is no checkpoint {path}.") from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a checkpoint: {' '.join(str(error).split())[:150]}") from error
