"""What papers propose: the LightningModules."""

from lit_gen.models.autoencoders.autoencoder import Autoencoder
from lit_gen.models.autoencoders.pca import PCA
from lit_gen.models.energy.rbm import RBM
from lit_gen.models.gans.gan import GAN
from lit_gen.models.vaes.factor_vae import FactorVAE
from lit_gen.models.vaes.vae import VAE
