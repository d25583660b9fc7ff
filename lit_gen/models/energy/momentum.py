"""Schedules of an optimizer's momentum."""

from lit_gen.errors import UserError


class MomentumChange:
    """A momentum that changes once: 0.5 while the weights find their scale, then 0.9; Hinton,
    A Practical Guide to Training Restricted Boltzmann Machines (2010), Section 9,
    https://www.cs.toronto.edu/~hinton/absps/guideTR.pdf

    Args:
        before: until then.
        after: from then on.
        step: the global step at which it changes.

    Raises:
        UserError: a momentum outside [0, 1), or a negative step.
    """

    def __init__(self, step: int, before: float = 0.5, after: float = 0.9) -> None:
        if not (0 <= before < 1 and 0 <= after < 1):
            raise UserError(f"a momentum must be in [0, 1), got {before} and {after}")
        if step < 0:
            raise UserError(f"a MomentumChange's step must be at least 0, got {step}")
        self.step = step
        self.before = before
        self.after = after

    def __call__(self, step: int) -> float:
        """The momentum at a global step."""
        return self.before if step < self.step else self.after
