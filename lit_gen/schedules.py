"""Weights that change with the training step: callables of the step, for whatever takes a number or such a callable.

As ``lr_lambda`` of ``torch.optim.lr_scheduler.LambdaLR`` they make learning-rate schedules too.
"""

import math

from lit_gen.errors import UserError


class CosineAnnealing:
    """A weight that stays at ``start``, then goes to ``end`` on half a cosine, and stays there.

    Loshchilov & Hutter, SGDR (2017), Eq. 5, https://arxiv.org/abs/1608.03983, without restarts.

    Args:
        num_steps: the step from which on the weight is ``end``, counted from the start of training.
        start: the weight at first.
        end: the weight in the end.
        hold: for how much of ``num_steps`` it stays at ``start``, in [0, 1).
        rest: for how much of ``num_steps`` it is at ``end`` already, in [0, 1 - hold).

    Raises:
        UserError: a number out of range.
    """

    def __init__(
        self, num_steps: int, start: float = 1.0, end: float = 0.0, hold: float = 0.0, rest: float = 0.0
    ) -> None:
        if num_steps < 1 or not 0.0 <= hold < 1.0 or not 0.0 <= rest < 1.0 - hold:
            raise UserError(
                f"a CosineAnnealing needs num_steps of at least 1, hold in [0, 1) and rest in [0, 1 - hold), got "
                f"{num_steps}, {hold} and {rest}"
            )
        self.num_steps = num_steps
        self.start = start
        self.end = end
        self.hold = hold
        self.rest = rest

    def __call__(self, step: int) -> float:
        """The weight at a step."""
        done = (step / self.num_steps - self.hold) / (1.0 - self.hold - self.rest)
        return self.end + (self.start - self.end) * (1.0 + math.cos(math.pi * min(max(done, 0.0), 1.0))) / 2.0
