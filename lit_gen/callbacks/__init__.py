"""What happens beside training: figures, pictures, watch over the run, files of results."""

from lit_gen.callbacks.active_units import ActiveUnits
from lit_gen.callbacks.class_grid import ClassGrid
from lit_gen.callbacks.code_scatter import CodeScatter
from lit_gen.callbacks.collapse_alarm import CollapseAlarm
from lit_gen.callbacks.completions import Completions
from lit_gen.callbacks.compression import Compression
from lit_gen.callbacks.discriminator_confidence import DiscriminatorConfidence
from lit_gen.callbacks.discriminator_surface import DiscriminatorSurface
from lit_gen.callbacks.disentanglement import Disentanglement
from lit_gen.callbacks.divergence_guard import DivergenceGuard
from lit_gen.callbacks.export_weights import ExportWeights
from lit_gen.callbacks.fid import FID
from lit_gen.callbacks.filters import Filters
from lit_gen.callbacks.free_energy_gap import FreeEnergyGap
from lit_gen.callbacks.gradient_norms import GradientNorms
from lit_gen.callbacks.interpolation import Interpolation
from lit_gen.callbacks.intervals import EpochPicture, FinalValidation
from lit_gen.callbacks.latent_manifold import LatentManifold
from lit_gen.callbacks.latent_traversal import LatentTraversal
from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.callbacks.mode_coverage import ModeCoverage, StackedModeCoverage
from lit_gen.callbacks.naive_likelihood import NaiveLikelihood
from lit_gen.callbacks.nearest_training import NearestTraining
from lit_gen.callbacks.neighbours import KNNAccuracy, Retrieval
from lit_gen.callbacks.partition_function import PartitionFunction
from lit_gen.callbacks.pixel_likelihood import PixelLikelihood
from lit_gen.callbacks.precision_recall import PrecisionRecall
from lit_gen.callbacks.prediction_writer import PredictionWriter
from lit_gen.callbacks.progress import Progress
from lit_gen.callbacks.quantile_error import QuantileError
from lit_gen.callbacks.reconstructions import Reconstructions
from lit_gen.callbacks.sample_grid import SampleGrid
from lit_gen.callbacks.sample_strip import SampleStrip
from lit_gen.callbacks.start_at_mean import StartAtMean
