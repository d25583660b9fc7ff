"""Weights that change with the training step: callables of the step, for whatever takes a number or such a callable.

As ``lr_lambda`` of ``torch.optim.lr_scheduler.LambdaLR`` they make learning-rate schedules too.
"""

import math

from lit_gen.errors import UserError


class CosineAnnealing:
    """A weight that stays at ``start``, then goes to ``end`` on half a cosine, and stays there.

    Loshchilov & Hutter, SGDR (2017), Eq. 5, https://arxiv.org/abs/1608.03983, without restarts.

    Args:
        start: the weight up to step ``hold_steps``.
        end: the weight from step ``num_steps`` on.
        num_steps: the step at which the way ends, counted from the start of training.
        hold_steps: the step at which it begins.

    Raises:
        UserError: it doesn't begin before it ends.
    """

    def __init__(self, start: float = 1.0, end: float = 0.0, num_steps: int = 1000, hold_steps: int = 0) -> None:
        if not 0 <= hold_steps < num_steps:
            raise UserError(
                f"a CosineAnnealing's hold_steps must lie in [0, num_steps), got {hold_steps} of {num_steps}"
            )
        self.start = start
        self.end = end
        self.num_steps = num_steps
        self.hold_steps = hold_steps

    def __call__(self, step: int) -> float:
        """The weight at a step."""
        done = min(max((step - self.hold_steps) / (self.num_steps - self.hold_steps), 0.0), 1.0)
        return self.end + (self.start - self.end) * (1.0 + math.cos(math.pi * done)) / 2.0
