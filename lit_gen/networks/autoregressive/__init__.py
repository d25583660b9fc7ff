"""Networks whose output for a cell of an example depends only on the cells before it."""

from lit_gen.networks.autoregressive.belief_network import FullyVisibleBeliefNetwork
from lit_gen.networks.autoregressive.pixelcnnpp import PixelCNNpp
