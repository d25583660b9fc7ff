"""A model that draws what it is told, with or without a discriminator, and the rest that a trainer needs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit_gen.models.base import GenerativeModel


class Draws(GenerativeModel):
    """``sample`` is ``draw(num)`` plus a shift that training moves by one a step."""

    def __init__(self, draw: Callable[[int], Tensor], step: float = 0.0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.draw = draw
        self.step = step
        self.seen: list[tuple[bool, bool]] = []

    def sample(self, num_samples: int) -> Tensor:
        self.seen.append((torch.is_grad_enabled(), self.training))
        return self.draw(num_samples) + self.shift

    def training_step(self, batch, batch_idx):
        torch.rand(3)
        return {"loss": self.shift}

    def validation_step(self, batch, batch_idx):
        return {}

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.step)


class Judges(Draws):
    """Also has a discriminator: ``judge(x)`` are its scores, logits unless ``logits`` is false."""

    def __init__(self, draw, judge: Callable[[Tensor], Tensor], logits: bool = True, step: float = 0.0) -> None:
        super().__init__(draw, step)
        self.judge = judge
        self.logits = logits

    def scores(self, x: Tensor) -> Tensor:
        return self.judge(x)

    def probability_real(self, scores: Tensor) -> Tensor | None:
        return scores.sigmoid() if self.logits else None
