"""Normalizing flows, the posteriors and the priors that they make."""

from lit_gen.distributions.flows.base import Flow, FlowSequence
from lit_gen.distributions.flows.distribution import FlowDistribution, FlowPosterior, FlowPrior
from lit_gen.distributions.flows.iaf import IAF
from lit_gen.distributions.flows.planar import Planar
from lit_gen.distributions.flows.realnvp import RealNVP
