"""What is added to the losses of an adversarial game."""

from lit_gen.regularizers.adversarial.dragan import DRAGAN
from lit_gen.regularizers.adversarial.feature_matching import FeatureMatching
from lit_gen.regularizers.adversarial.gradient_penalty import GradientPenalty
from lit_gen.regularizers.adversarial.historical_averaging import HistoricalAveraging
from lit_gen.regularizers.adversarial.pulling_away import PullingAway
from lit_gen.regularizers.adversarial.weight_clipping import WeightClipping
from lit_gen.regularizers.adversarial.zero_centered import R1, R2
