"""Variational autoencoders."""

from lit_gen.models.vaes.naive import NaiveMonteCarlo
from lit_gen.models.vaes.vae import VAE
