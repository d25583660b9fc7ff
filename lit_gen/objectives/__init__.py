"""What is minimised."""

from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
from lit_gen.objectives.reconstruction import CrossEntropy, SoftmaxCrossEntropy, SquaredError
from lit_gen.objectives.total_correlation import BetaTCVAE, DividedKL, divided_kl
from lit_gen.objectives.variational import ELBO, Bound, ImportanceWeighted, LinearWarmup, elbo, importance_bound
