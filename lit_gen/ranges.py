"""Ranges of arguments: one way to refuse a number that makes no sense."""

from collections.abc import Iterable

from lit_gen.errors import UserError


def check_at_least(owner: object, least: float, **values: float | Iterable[float] | None) -> None:
    """Refuse arguments that are too small; NaN is refused too.

    Args:
        owner: whose arguments they are: an instance, named by its class, or a name.
        least: the least value that is allowed.
        values: a number, or several as a list of widths, by the argument's name; None stands for no number.

    Raises:
        UserError: names the owner, the argument and its value.

    >>> check_at_least("MLP", 1, hidden_dims=[64, 64], params_per_output=1)
    """
    for name, value in values.items():
        numbers = value if isinstance(value, Iterable) else [] if value is None else [value]
        if not all(number >= least for number in numbers):
            called = owner if isinstance(owner, str) else type(owner).__name__
            every = "each of " if isinstance(value, Iterable) else ""
            raise UserError(f"{every}a {called}'s {name} must be at least {least}, got {value}")
