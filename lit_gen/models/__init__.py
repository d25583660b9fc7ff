"""What papers propose: the LightningModules."""

from lit_gen.models.autoencoders.autoencoder import Autoencoder
from lit_gen.models.autoencoders.pca import PCA
from lit_gen.models.autoregressive.autoregressive_model import (
    AutoregressiveModel,
    ClassConditionalAutoregressiveModel,
)
from lit_gen.models.energy.rbm import RBM
from lit_gen.models.gans.gan import GAN
from lit_gen.models.gans.unrolled_gan import UnrolledGAN
from lit_gen.models.vaes.conditional_vae import ClassConditionalVAE, ConditionalVAE
from lit_gen.models.vaes.cvae_gan import CVAEGAN
from lit_gen.models.vaes.factor_vae import FactorVAE
from lit_gen.models.vaes.ladder_vae import LadderVAE
from lit_gen.models.vaes.naive import NaiveMonteCarlo
from lit_gen.models.vaes.vae import VAE
from lit_gen.models.vaes.vae_gan import VAEGAN
from lit_gen.models.vaes.vamp_vae import VampVAE
from lit_gen.models.vaes.vq_vae import VQVAE
