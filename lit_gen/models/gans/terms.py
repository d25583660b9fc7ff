"""The regularizers of a game as named terms of its players' losses."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from lit_gen.regularizers.adversarial.base import AdversarialRegularizer, Player, has_term


class Term(NamedTuple):
    """A regularizer's term in a loss.

    Attributes:
        name: what it is logged as: its class's name in snake_case, with the player's before it where both have one.
        regularizer: which.
    """

    name: str
    regularizer: AdversarialRegularizer


class Due(NamedTuple):
    """A term that enters the loss of this step.

    Attributes:
        name: what it is logged as.
        regularizer: which.
        noise: what it drew for this batch.
    """

    name: str
    regularizer: AdversarialRegularizer
    noise: tuple[Tensor, ...]


def terms_of(regularizers: Iterable[AdversarialRegularizer]) -> dict[Player, list[Term]]:
    """The terms of each player's loss, by names that are theirs alone."""
    terms: dict[Player, list[Term]] = {"discriminator": [], "generator": []}
    with_terms = [regularizer for regularizer in regularizers if has_term(regularizer)]
    snake_case = [re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(one).__name__).lower() for one in with_terms]
    taken: dict[str, int] = {}
    for name, regularizer in zip(snake_case, with_terms, strict=True):
        if snake_case.count(name) > 1:
            name = f"{regularizer.player}_{name}"
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            name = f"{name}_{taken[name]}"
        terms[regularizer.player].append(Term(name, regularizer))
    return terms
