"""The VAE whose prior is a mixture of its own posteriors."""

from itertools import chain

from torch import Tensor, equal, is_autocast_enabled, is_grad_enabled
from torch.distributions import Distribution

from lit_gen.distributions.vamp_prior import VampPrior
from lit_gen.errors import UserError
from lit_gen.models.dry_run import try_network
from lit_gen.models.vaes.vae import VAE


class VampVAE(VAE):
    """VAE with the prior p(z) = 1/M sum_m q(z|u_m).

    Tomczak & Welling, VAE with a VampPrior (2018), Eq. 9, https://arxiv.org/abs/1705.07120. The arguments are those of
    ``VAE``, with a ``VampPrior`` as ``prior`` and an objective that needs no KL in closed form.

    The pseudo-inputs are encoded once a batch. In evaluation without gradients their codes are kept while every weight
    has the value that it had, so that a likelihood of many samples, taken chunk by chunk, doesn't encode them for each.
    """

    _kept: Distribution | None = None
    _kept_of: tuple = ()

    def latent_prior(self) -> Distribution:
        """p(z): batch (), event (Z,)."""
        if self.training or is_grad_enabled():
            self._kept = None
            return self._mixture()
        if self._kept is None or not self._is_of_now(*self._kept_of):
            self._kept = None
            weights, settings = self._weights_and_settings()
            self._kept, self._kept_of = self._mixture(), ([weight.clone() for weight in weights], settings)
        return self._kept

    def _weights_and_settings(self) -> tuple[list[Tensor], tuple]:
        """All that the mixture depends on: tensors, and the modules' modes and the precision."""
        parts = (self.encoder, self.posterior, self.prior)
        weights = [*chain.from_iterable((*part.parameters(), *part.buffers()) for part in parts)]
        modes = tuple(module.training for part in parts for module in part.modules())
        return weights, (modes, is_autocast_enabled(self.prior.logits.device.type))

    def _is_of_now(self, weights: list[Tensor], settings: tuple) -> bool:
        """Whether nothing has changed since. By value: a write through ``.data`` leaves no trace in a tensor's version
        counter. Comparing takes about a tenth of the time of encoding."""
        now, settings_now = self._weights_and_settings()
        return settings == settings_now and all(
            (a.dtype, a.device) == (b.dtype, b.device) and equal(a, b) for a, b in zip(weights, now, strict=True)
        )

    def _mixture(self) -> Distribution:
        return self.prior(self._posterior_of)

    def _posterior_of(self, x: Tensor) -> Distribution:
        return self.posterior_at(self.encoder(x))

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        if not isinstance(self.prior, VampPrior):
            raise UserError(f"a VampVAE's prior is a VampPrior, not a {type(self.prior).__name__}: take the model VAE")
        super()._try_parts(shape)
        try_network("the encoder", self.encoder, self.prior.pseudo_inputs()[:2], "the prior's pseudo-inputs")
