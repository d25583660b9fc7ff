"""Variational autoencoders."""

from lit_gen.models.vaes.vae import VAE
