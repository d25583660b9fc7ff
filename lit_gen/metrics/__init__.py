"""What is reported: torchmetrics metrics that sum over batches and ranks."""

from lit_gen.metrics.ais import LogPartition, ais_log_weights, exact_log_partition, log_partition
from lit_gen.metrics.bits_per_dim import bits_per_dim
from lit_gen.metrics.digit_classifier import DigitClassifier
from lit_gen.metrics.factor_vae_score import factor_vae_score
from lit_gen.metrics.fid import FeatureMoments, FrechetDistance, Moments, frechet_distance
from lit_gen.metrics.mig import MutualInformationGap, mutual_information_gap
from lit_gen.metrics.mode_coverage import ClassModes, ClassModesResult, ModeCoverage, ModeCoverageResult
from lit_gen.metrics.nearest_neighbours import Neighbours, majority, nearest_neighbours, precision
from lit_gen.metrics.nll import MeanEstimate, NegativeLogLikelihood, StreamingLogMeanExp
from lit_gen.metrics.precision_recall import PrecisionRecall, PrecisionRecallResult, precision_recall
from lit_gen.metrics.principal_components import PrincipalComponents, StreamingMoments, principal_components
from lit_gen.metrics.wasserstein1 import Wasserstein1, wasserstein1, wasserstein1_from_quantiles
