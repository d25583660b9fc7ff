"""Variational autoencoders."""

from lit_gen.models.vaes.factor_vae import FactorVAE
from lit_gen.models.vaes.vae import VAE
