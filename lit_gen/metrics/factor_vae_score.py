"""The FactorVAE score of a code whose data's factors are known."""

import torch
from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.metrics.active_coordinates import active_coordinates

_CHUNK = 500  # groups at a time: bounds the memory


def factor_vae_score(
    codes: Tensor,
    factors: Tensor,
    num_votes: int = 10_000,
    group_size: int = 64,
    min_variance: float = 0.05,
    generator: torch.Generator | None = None,
) -> float:
    """How well the coordinate that varies least tells which factor was held fixed, in [0, 1].

    Kim & Mnih, Disentangling by Factorising (2018), Section 4, https://arxiv.org/abs/1802.05983. A vote: a factor and a
    value of it are drawn, then a group of examples that have this value; the vote pairs the coordinate whose variance
    in the group, divided by its variance over all examples, is least with the factor. The classifier gives each
    coordinate the factor that most votes paired it with. The score is its accuracy on as many fresh votes (the paper's
    is on the votes it was made of). By chance it is one over the number of factors.

    Args:
        codes: (N, Z), finite.
        factors: (N, F) int64, values from 0; those of which all examples have one value are left out.
        num_votes: votes to learn from, and votes to score.
        group_size: examples in a group, drawn with replacement.
        min_variance: coordinates that vary less are left out; the paper's 0.05 is meant for a prior of variance 1.
        generator: where votes and groups are drawn from, on the CPU.

    Raises:
        UserError: a count out of range, codes that aren't finite, or factors of which none varies.
    """
    for name, value, least in [("votes", num_votes, 1), ("examples in a group", group_size, 2)]:
        if value < least:
            raise UserError(f"the FactorVAE score needs at least {least} {name}, got {value}")
    if not torch.isfinite(codes).all():
        raise UserError("the codes to take the FactorVAE score of aren't all finite: has the model diverged?")
    codes, factors = codes.cpu().double(), factors.cpu()
    factors = factors[:, (factors != factors[:1]).any(0)]
    if factors.shape[1] == 0:
        raise UserError("the FactorVAE score needs examples that differ in some factor")
    active, variance = active_coordinates(codes, min_variance), codes.var(0)
    fixed = torch.randint(factors.shape[1], (2 * num_votes,), generator=generator)
    least = torch.empty_like(fixed)
    for number in range(factors.shape[1]):
        votes = (fixed == number).nonzero().squeeze(1)
        for part in votes.split(_CHUNK):
            rows = _groups(factors[:, number], len(part), group_size, generator)
            ratio = codes[rows].var(1) / variance  # (votes, Z)
            # Where no coordinate is active all votes are for the first of them, and the score is that of chance.
            least[part] = torch.where(active, ratio, torch.inf).argmin(1)
    counts = torch.zeros(codes.shape[1], factors.shape[1], dtype=torch.int64)
    learned, scored = slice(None, num_votes), slice(num_votes, None)
    counts.index_put_((least[learned], fixed[learned]), torch.ones(num_votes, dtype=torch.int64), accumulate=True)
    return float((counts.argmax(1)[least[scored]] == fixed[scored]).double().mean())


def _groups(factor: Tensor, num_groups: int, group_size: int, generator: torch.Generator | None) -> Tensor:
    """(num_groups, group_size) rows, in each group of one value of ``factor``, (N,); all values are as likely."""
    order = factor.argsort(stable=True)
    _, counts = factor.unique(return_counts=True)  # in ascending order, as in ``order``
    value = torch.randint(len(counts), (num_groups,), generator=generator)
    share = torch.rand(num_groups, group_size, generator=generator, dtype=torch.float64)
    within = (share * counts[value, None]).long().clamp_max(counts[value, None] - 1)
    return order[(counts.cumsum(0) - counts)[value, None] + within]
