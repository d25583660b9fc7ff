"""Heads, which turn a network's output into a distribution, and priors."""

from lit_gen.distributions.bernoulli import BernoulliHead, PixelwiseBernoulli
from lit_gen.distributions.categorical import CategoricalHead, LevelCategorical
from lit_gen.distributions.conditional_prior import ConditionalPrior
from lit_gen.distributions.continuous_bernoulli import ContinuousBernoulli, ContinuousBernoulliHead
from lit_gen.distributions.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticHead
from lit_gen.distributions.discretized_logistic_mixture import (
    DiscretizedLogisticMixture,
    DiscretizedLogisticMixtureHead,
)
from lit_gen.distributions.flows.distribution import FlowDistribution, FlowPosterior, FlowPrior
from lit_gen.distributions.full_normal import FullNormal, FullNormalHead
from lit_gen.distributions.gumbel_softmax import GumbelSoftmaxHead, RelaxedOneHot
from lit_gen.distributions.hierarchical import HierarchicalHead, HierarchicalPrior, LayeredCode
from lit_gen.distributions.ladder import LadderHead, precision_weighted
from lit_gen.distributions.laplace import IndependentLaplace, LaplaceHead
from lit_gen.distributions.location_scale import LearnedScale
from lit_gen.distributions.mixture import Mixture, MixturePrior
from lit_gen.distributions.normal import DiagonalNormal, NormalHead
from lit_gen.distributions.one_hot import OneHot, UniformCategorical
from lit_gen.distributions.pixel_logistic_mixture import PixelLogisticMixture, PixelLogisticMixtureHead
from lit_gen.distributions.priors import StandardNormal, Uniform
from lit_gen.distributions.units import BernoulliUnits, GaussianUnits
from lit_gen.distributions.vamp_prior import VampPrior
