"""Ladder variational autoencoders."""

from torch import Tensor
from torch.distributions import Distribution

from lit_gen.models.vaes.vae import VAE


class LadderVAE(VAE):
    """Variational autoencoder whose posterior corrects the prior from the top layer down.

    Sønderby, Raiko, Maaløe, Sønderby & Winther, Ladder Variational Autoencoders (2016),
    https://arxiv.org/abs/1602.02282

    The arguments are those of ``VAE``, with these parts: ``encoder`` gives estimates of all layers, as
    ``LadderEncoder``; ``posterior`` is handed them and the prior, as ``LadderHead``; ``prior`` is a
    ``HierarchicalPrior``; ``decoder`` reads the lowest layer, as ``BottomLayer``. The prior's networks are part of
    q(z|x) too. Its KL has no closed form: give ``ELBO`` closed_form_kl false.
    """

    def posterior_at(self, parameters: Tensor) -> Distribution:
        return self.posterior(parameters, self.prior)
