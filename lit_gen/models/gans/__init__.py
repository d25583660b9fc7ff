"""Generative adversarial networks."""

from lit_gen.models.gans.gan import GAN
from lit_gen.models.gans.unrolled_gan import UnrolledGAN
