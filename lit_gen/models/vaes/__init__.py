"""Variational autoencoders."""

from lit_gen.models.vaes.ladder_vae import LadderVAE
from lit_gen.models.vaes.vae import VAE
from lit_gen.models.vaes.vamp_vae import VampVAE
