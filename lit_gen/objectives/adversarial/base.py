"""The shape that all adversarial objectives share."""

from torch import Tensor, nn


class AdversarialObjective(nn.Module):
    """What a discriminator and a generator minimise, as functions of scores.

    Scores are a discriminator's raw outputs, (B,), the higher the more real. Arguments are keyword-only, so that real
    and fake cannot change places unseen. A module, because some objectives have state.
    """

    generator_uses_real: bool = False
    """Whether ``generator_loss`` looks at ``real``; where it doesn't, a model needn't compute it and passes None."""

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """(B,) scores of real and (B,) of generated examples -> (B,), one loss for each pair of them."""
        raise NotImplementedError

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """(B,) scores of real (or None) and (B,) of generated examples -> (B,), one loss for each generated one."""
        raise NotImplementedError
