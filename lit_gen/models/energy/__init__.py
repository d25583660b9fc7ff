"""Energy-based models: restricted Boltzmann machines."""

from lit_gen.models.energy.momentum import MomentumChange
from lit_gen.models.energy.rbm import RBM
