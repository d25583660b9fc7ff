"""The shape that all adversarial objectives share."""

from torch import Tensor, nn


class AdversarialObjective(nn.Module):
    """What a discriminator and a generator minimise, as functions of scores.

    Scores are a discriminator's raw outputs, (B,), the higher the more real, but where they are energies. Arguments are
    keyword-only, so that real and fake cannot change places unseen. A module, because some objectives have state.
    """

    generator_uses_real: bool = False
    """Whether ``generator_loss`` looks at ``real``; where it doesn't, a model needn't compute it and passes None."""

    scores_are_energies: bool = False
    """Whether the discriminator is an autoencoder and its scores are reconstruction errors: low for real examples."""

    def discriminator_loss(self, *, real: Tensor, fake: Tensor) -> Tensor:
        """(B,) scores of real and (B,) of generated examples -> (B,), one loss for each pair of them."""
        raise NotImplementedError

    def generator_loss(self, *, real: Tensor | None, fake: Tensor) -> Tensor:
        """(B,) scores of real (or None) and (B,) of generated examples -> (B,), one loss for each generated one."""
        raise NotImplementedError

    def probability_real(self, scores: Tensor) -> Tensor | None:
        """Scores -> the probability in [0, 1] that each is of a real example; None where scores are no logits."""
        return None

    def observe(self, *, real: Tensor, fake: Tensor) -> None:
        """For objectives with state: called in training after each step of the generator with the mean scores, (), of
        the real examples and of the fakes that it was taken on, over the batches of all ranks."""


def has_state(objective: nn.Module) -> bool:
    """Whether it wants to ``observe``."""
    return isinstance(objective, AdversarialObjective) and type(objective).observe is not AdversarialObjective.observe
