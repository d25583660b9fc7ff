"""Which values a likelihood is of: the interval [0, 1], or levels in it."""

from torch import Tensor

from lit_gen.errors import UserError
from lit_gen.tensor import at_least_single

LEVEL_TOLERANCE = 0.1
"""How far from a level a value may lie, in steps between levels: single precision's rounding is 1e-5, half's 0.07."""


def nearest_level(x: Tensor, num_levels: int) -> Tensor:
    """Values in [0, 1] -> the number k of the nearest level k / (num_levels - 1), a whole number."""
    return (at_least_single(x) * (num_levels - 1)).round()


def check_num_levels(head: str, num_levels: int) -> int:
    """``num_levels``.

    Raises:
        UserError: it is less than 2.
    """
    if num_levels < 2:
        raise UserError(f"a {head}'s num_levels must be at least 2, got {num_levels}")
    return num_levels


def check_unit_interval(x: Tensor, likelihood: str, what: str = "the data") -> None:
    """Refuse values outside [0, 1].

    Raises:
        UserError: ``x``, which the message calls ``what``, holds some.
    """
    low, high = (float(value) for value in x.detach().aminmax())
    if not (low >= 0.0 and high <= 1.0):
        raise UserError(
            f"{likelihood} is a likelihood of values in [0, 1], but {what} reach from {low:.4g} to {high:.4g}: bring "
            "them into that range, or take NormalHead"
        )


def check_levels(x: Tensor, num_levels: int, likelihood: str, what: str = "the data") -> None:
    """Refuse values that are none of k / (num_levels - 1), k = 0 … num_levels - 1, up to ``LEVEL_TOLERANCE``.

    Raises:
        UserError: ``x``, which the message calls ``what``, holds some.
    """
    check_unit_interval(x, likelihood, what)
    x = x.detach().flatten()
    off = (nearest_level(x, num_levels) - at_least_single(x) * (num_levels - 1)).abs()
    if float(off.max()) > LEVEL_TOLERANCE:
        raise UserError(
            f"{likelihood} is a likelihood of the {num_levels} levels k/{num_levels - 1}, but {what} hold "
            f"{float(x[off.argmax()]):.4g}, which is none of them: quantize them, change num_levels, or take a density "
            "such as NormalHead"
        )
