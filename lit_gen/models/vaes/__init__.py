"""Variational autoencoders."""

from lit_gen.models.vaes.condition import ClassLabel, GivenHalf
from lit_gen.models.vaes.conditional_vae import ClassConditionalVAE, ConditionalVAE
from lit_gen.models.vaes.cvae_gan import CVAEGAN
from lit_gen.models.vaes.factor_vae import FactorVAE
from lit_gen.models.vaes.ladder_vae import LadderVAE
from lit_gen.models.vaes.naive import NaiveMonteCarlo
from lit_gen.models.vaes.vae import VAE
from lit_gen.models.vaes.vae_gan import VAEGAN
from lit_gen.models.vaes.vamp_vae import VampVAE
from lit_gen.models.vaes.vq_vae import VQVAE
