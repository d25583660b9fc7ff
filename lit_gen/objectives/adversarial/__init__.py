"""Adversarial objectives: one loss for each example, as a function of scores."""

from lit_gen.objectives.adversarial.minimax import Minimax
from lit_gen.objectives.adversarial.non_saturating import NonSaturating
