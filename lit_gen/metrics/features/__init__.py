"""Feature extractors: what images are compared by."""

from lit_gen.metrics.features.base import FeatureExtractor
from lit_gen.metrics.features.inception import InceptionV3
from lit_gen.metrics.features.lenet import LeNet
