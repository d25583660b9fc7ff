"""Decoders that read the lowest layer of a code in layers."""

from math import prod

from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.ranges import check_at_least


class BottomLayer(nn.Module):
    """p(x|z) = p(x|z_1): codes (B, Z_1 + … + Z_L) -> what ``network`` makes of their first Z_1 coordinates.

    Args:
        network: the decoder of z_1; has ``in_shape``, as ``lit_gen.networks.MLP``.
        dim_above: Z_2 + … + Z_L.

    Raises:
        UserError: a network that doesn't say its ``in_shape``, or nothing above.
    """

    def __init__(self, network: nn.Module, dim_above: int) -> None:
        super().__init__()
        if not hasattr(network, "in_shape"):
            raise UserError(f"BottomLayer needs a network with an in_shape, which a {type(network).__name__} hasn't")
        check_at_least(self, 1, dim_above=dim_above)
        self.network = network
        self.dim = prod(network.in_shape)
        self.in_shape = (self.dim + dim_above,)

    @property
    def output_bias(self) -> Tensor:
        """The network's."""
        return self.network.output_bias

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z_1 + … + Z_L) -> the network's output."""
        return self.network(z[:, : self.dim])
