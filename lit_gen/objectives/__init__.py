"""What is minimised."""

from lit_gen.objectives.adversarial.boundary_equilibrium import BoundaryEquilibrium
from lit_gen.objectives.adversarial.boundary_seeking import BoundarySeeking
from lit_gen.objectives.adversarial.divergences import (
    Alpha,
    GANDivergence,
    JensenShannon,
    KullbackLeibler,
    Neyman,
    Pearson,
    ReverseKullbackLeibler,
    SquaredHellinger,
    TotalVariation,
)
from lit_gen.objectives.adversarial.energy_based import EnergyBased
from lit_gen.objectives.adversarial.f_divergence import FDivergence
from lit_gen.objectives.adversarial.halved_cross_entropy import HalvedCrossEntropy
from lit_gen.objectives.adversarial.hinge import Hinge
from lit_gen.objectives.adversarial.least_squares import LeastSquares
from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.adversarial.relativistic import RelativisticPaired
from lit_gen.objectives.adversarial.wasserstein import Wasserstein
from lit_gen.objectives.reconstruction import CrossEntropy, SoftmaxCrossEntropy, SquaredError
from lit_gen.objectives.total_correlation import BetaTCVAE, DividedKL, divided_kl
from lit_gen.objectives.variational import ELBO, Bound, ImportanceWeighted, LinearWarmup, elbo, importance_bound
