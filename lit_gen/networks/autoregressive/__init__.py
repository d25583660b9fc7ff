"""Networks whose output for a cell of an example depends only on the cells before it."""

from lit_gen.networks.autoregressive.belief_network import FullyVisibleBeliefNetwork
from lit_gen.networks.autoregressive.gated_pixelcnn import GatedPixelCNN
from lit_gen.networks.autoregressive.made import MADE
from lit_gen.networks.autoregressive.multi_scale import MultiScale
from lit_gen.networks.autoregressive.nade import NADE
from lit_gen.networks.autoregressive.pixelcnn import PixelCNN
from lit_gen.networks.autoregressive.pixelcnnpp import PixelCNNpp
from lit_gen.networks.autoregressive.pixelrnn import DiagonalBiLSTM, RowLSTM
from lit_gen.networks.autoregressive.pixelsnail import PixelSNAIL
from lit_gen.networks.autoregressive.transformer import CausalTransformer
