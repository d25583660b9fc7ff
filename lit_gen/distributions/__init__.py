"""Heads, which turn a network's output into a distribution, and priors."""

from lit_gen.distributions.bernoulli import BernoulliHead, PixelwiseBernoulli
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.priors import StandardNormal
from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
