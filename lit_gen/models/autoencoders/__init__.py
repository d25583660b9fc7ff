"""Autoencoders, and PCA, the linear one with a closed form."""
