"""Networks one after another."""

from torch import nn


class Chain(nn.Sequential):
    """``torch.nn.Sequential`` of a list, as a config can write it: an encoder and a head, a network and its range.

    Args:
        parts: modules, each of which takes what the one before it gives. Their names in the state dict are 0, 1, …
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__(*parts)
