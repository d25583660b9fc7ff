"""What is reported: torchmetrics metrics that sum over batches and ranks."""

from lit_gen.metrics.bits_per_dim import bits_per_dim
from lit_gen.metrics.fid import FeatureMoments, FrechetDistance, Moments, frechet_distance
from lit_gen.metrics.nll import MeanEstimate, NegativeLogLikelihood, StreamingLogMeanExp
