"""What is added to an objective: penalties on a code, a network or a gradient."""

from lit_gen.regularizers.contractive import Contractive
from lit_gen.regularizers.sparsity import KLSparsity, L1Sparsity
