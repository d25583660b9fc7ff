"""Plain networks: (B, *in_shape) -> (B, *out_shape)."""

from lit_gen.networks.autoencoding import AutoencodingDiscriminator
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
from lit_gen.networks.bottom_layer import BottomLayer
from lit_gen.networks.chain import Chain
from lit_gen.networks.codec import Codec
from lit_gen.networks.conditioned import Conditioned, ConditionedMLP
from lit_gen.networks.conv import ConvDecoder, ConvEncoder
from lit_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lit_gen.networks.document_encoder import DocumentEncoder
from lit_gen.networks.feature_network import FeatureNetwork
from lit_gen.networks.instance_noise import InstanceNoise
from lit_gen.networks.ladder_encoder import LadderEncoder
from lit_gen.networks.mlp import MLP
from lit_gen.networks.mlp_codec import MLPCodec
from lit_gen.networks.mlp_discriminator import MLPDiscriminator
from lit_gen.networks.packed import Packed
from lit_gen.networks.pretrained import Pretrained
from lit_gen.networks.reference import ReferenceBatch
from lit_gen.networks.resnet import ResNetDiscriminator, ResNetGenerator
from lit_gen.networks.spectral_norm import SpectralNorm
from lit_gen.networks.tied import TransposedMLP
