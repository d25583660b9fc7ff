"""Heads, which turn a network's output into a distribution, and priors."""

from lit_gen.distributions.bernoulli import BernoulliHead
from lit_gen.distributions.normal import NormalHead
from lit_gen.distributions.priors import StandardNormal
