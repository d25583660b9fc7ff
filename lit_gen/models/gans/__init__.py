"""Generative adversarial networks."""

from lit_gen.models.gans.gan import GAN
