"""An encoder and a decoder that belong together."""

from torch import Tensor, nn


class Codec(nn.Module):
    """An encoder with its decoder: what one stage of a layer-by-layer training leaves to the next.

    Args:
        encoder: (B, *event_shape) -> (B, Z).
        decoder: (B, Z) -> (B, *event_shape).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, Z)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape)."""
        return self.decoder(z)
