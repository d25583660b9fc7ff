"""The edge between pixels in [0, 1] and a network that works in another range."""

from torch import Tensor, nn


class Rescale(nn.Module):
    """``scale * x + shift``, elementwise: 2 and -1 bring [0, 1] to tanh's [-1, 1], 0.5 and 0.5 bring it back.

    Args:
        scale: factor.
        shift: summand.
    """

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale = scale
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return self.scale * x + self.shift
