"""Each conjugate against the supremum that it is defined by."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from lit_gen.objectives.adversarial.divergences import (
    Alpha,
    GANDivergence,
    JensenShannon,
    KullbackLeibler,
    Neyman,
    Pearson,
    ReverseKullbackLeibler,
    SquaredHellinger,
    TotalVariation,
)

DIVERGENCES = [
    KullbackLeibler(),
    ReverseKullbackLeibler(),
    Pearson(),
    Neyman(),
    SquaredHellinger(),
    JensenShannon(),
    GANDivergence(),
    TotalVariation(),
    Alpha(-1.5),
    Alpha(0.5),
    Alpha(1.5),
    Alpha(3.0),
]


def supremum(divergence, t: float) -> float:
    """sup over u >= 0 of u t - f(u), by a grid over log u and a search about its best point."""

    def loss(log_u):
        u = torch.tensor(np.exp(log_u), dtype=torch.float64)
        return float(divergence.f(u) - u * t)

    grid = np.linspace(-40, 12, 2000)
    best = int(np.argmin([loss(log_u) for log_u in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return -minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).fun


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: f"{type(d).__name__}{getattr(d, 'alpha', '')}")
@pytest.mark.parametrize("score", [-6.0, -2.5, -1.0, 0.0, 0.7, 2.0])
def test_a_conjugate_is_the_supremum(divergence, score):
    score = torch.tensor(score, dtype=torch.float64)
    expected = supremum(divergence, float(divergence.activation(score)))
    found = float(divergence.conjugate_at(score))
    if isinstance(divergence, Pearson) and score < -2:
        # What its docstring says: the conjugate over u >= 0 is -1 there, and this is more: the bound stays one.
        assert expected == pytest.approx(-1, abs=1e-6)
        assert found == pytest.approx(float(score) ** 2 / 4 + float(score), rel=1e-12)
        assert found > expected
    else:
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
