"""Autoencoders, and PCA, the linear one with a closed form."""

from lit_gen.models.autoencoders.autoencoder import Autoencoder
