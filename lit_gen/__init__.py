"""lit-gen: an experiment framework for generative models on Lightning."""

__version__ = "0.1.0"
