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

    Raises:
        UserError: a number out of range.
    """

    def __init__(self, num_steps: int, start: float = 1.0, end: float = 0.0, hold: float = 0.0) -> None:
        if num_steps < 1 or not 0.0 <= hold < 1.0:
            raise UserError(
                f"a CosineAnnealing needs num_steps of at least 1 and hold in [0, 1), got {num_steps} and {hold}"
            )
        self.num_steps = num_steps
        self.start = start
        self.end = end
        self.hold = hold

    def __call__(self, step: int) -> float:
        """The weight at a step."""
        done = (step / self.num_steps - self.hold) / (1.0 - self.hold)
        return self.end + (self.start - self.end) * (1.0 + math.cos(math.pi * min(max(done, 0.0), 1.0))) / 2.0
