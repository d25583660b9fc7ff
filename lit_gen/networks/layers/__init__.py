"""Layers that networks are built of."""

from lit_gen.networks.layers.corruption import GaussianNoise, MaskingNoise, SaltAndPepperNoise
from lit_gen.networks.layers.masked_conv import MaskedConv2d
from lit_gen.networks.layers.maxout import Maxout
from lit_gen.networks.layers.minibatch import MinibatchDiscrimination, MinibatchStandardDeviation
from lit_gen.networks.layers.norm import BatchNorm1d, BatchNorm2d
from lit_gen.networks.layers.quantize import VectorQuantizer
from lit_gen.networks.layers.random_shift import RandomShift
from lit_gen.networks.layers.reference_norm import ReferenceBatchNorm, VirtualBatchNorm
from lit_gen.networks.layers.rescale import Rescale
from lit_gen.networks.layers.tanh import Tanh
