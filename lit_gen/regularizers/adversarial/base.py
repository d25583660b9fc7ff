"""The shape that all regularizers of adversarial games share."""

from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.protocols import Game

Player = Literal["discriminator", "generator"]


class AdversarialRegularizer(nn.Module):
    """A term of one player's loss besides the objective, or something done to it after its step.

    A subclass writes ``forward``, ``after_step`` or both, and says by class attributes what it needs, so that the model
    computes no more. A module, because some have state.

    Args:
        weight: of the term; or a callable of the training step.
        every_n_steps: the term enters each n-th of its player's steps, n times as heavy, "lazily"; Karras et al.,
            StyleGAN2 (2020), Section 3.1, https://arxiv.org/abs/1912.04958

    Raises:
        UserError: a negative weight, or a count below 1.
    """

    player: Player = "discriminator"
    """Whose loss the term belongs to."""

    differentiates: ClassVar[frozenset[str]] = frozenset()
    """Of "real" and "fake": those of whose ``x`` it takes the scores' gradient, which ``x`` must then carry."""

    needs_second_derivatives: bool = False
    """Whether it is a function of gradients, so that a step differentiates the discriminator twice."""

    changes_weights: bool = False
    """Whether ``after_step`` changes its player."""

    needs_features: bool = False
    """Whether it looks at ``features``, which the discriminator must then have."""

    needs_real: bool = False
    """Whether a term of the generator looks at the real examples."""

    def __init__(self, weight: float | Callable[[int], float] = 1.0, every_n_steps: int = 1) -> None:
        super().__init__()
        if every_n_steps < 1:
            raise UserError(f"a {type(self).__name__}'s every_n_steps must be at least 1, got {every_n_steps}")
        self.schedule = weight
        self.every_n_steps = every_n_steps
        self.at_step(0)

    def at_step(self, step: int) -> None:
        """Take the weight of a training step; the model calls it before each."""
        self.weight = float(self.schedule(step) if callable(self.schedule) else self.schedule)
        if not self.weight >= 0:
            raise UserError(f"a {type(self).__name__}'s weight must not be negative, got {self.weight} at step {step}")

    def join(self, generator: nn.Module, discriminator: nn.Module) -> None:
        """Called once when the model is built: the place to look at the players and to make buffers of their sizes.

        Raises:
            UserError: they are none that it works with.
        """

    def noise(self, real: Tensor) -> tuple[Tensor, ...]:
        """Random numbers that the term needs for a batch of (B, *event_shape) examples, (B, ...) each.

        They are drawn once for a batch, so that cutting it into slices doesn't change them.
        """
        return ()

    def forward(self, game: Game) -> Tensor:
        """The term, unweighted: (B,), one value an example, or (), one for the batch."""
        raise NotImplementedError

    def after_step(self, player: nn.Module) -> None:
        """Called after each step of ``player``'s optimizer; what it does records no gradients."""


def has_term(regularizer: AdversarialRegularizer) -> bool:
    """Whether it adds to a loss, or only acts after steps."""
    return type(regularizer).forward is not AdversarialRegularizer.forward


def acts_after_step(regularizer: AdversarialRegularizer) -> bool:
    """Whether it does something after its player's steps."""
    return type(regularizer).after_step is not AdversarialRegularizer.after_step
