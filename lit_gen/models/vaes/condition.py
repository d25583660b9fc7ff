"""What a conditional model is given of an example, and what is left for it to tell."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.ranges import check_at_least


class Condition(nn.Module):
    """Base: divides an example x into a condition c and the rest y, whose density p(y|c) a model learns.

    Attributes:
        description: what is given, in words.
        shape: of one condition.
    """

    description: str
    shape: tuple[int, ...]

    def given(self, x: Tensor, label: Tensor | None) -> Tensor:
        """(B, *event_shape), (B,) class indices -> c, (B, *shape).

        Raises:
            UserError: it needs a label that isn't there.
        """
        raise NotImplementedError

    def rest(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> y, (B, *rest_shape)."""
        raise NotImplementedError

    def whole(self, rest: Tensor, given: Tensor) -> Tensor:
        """y, c -> x, (B, *event_shape)."""
        raise NotImplementedError

    def check_classes(self, num_classes: int | None) -> None:
        """Refuse data of so many classes (None: without labels).

        Raises:
            UserError: their labels are none that can be given.
        """


class ClassLabel(Condition):
    """The class is given, one-hot; the whole example is left to tell.

    Args:
        num_classes: of the data.

    Raises:
        UserError: fewer than 1.
    """

    description = "the class label"

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"ClassLabel needs num_classes of at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.shape = (num_classes,)

    def given(self, x: Tensor, label: Tensor | None) -> Tensor:
        """(B, *event_shape), (B,) class indices -> (B, num_classes), of the type of x."""
        if label is None:
            raise UserError("a model conditioned on the class label needs labelled examples, but these have none")
        return self.one_hot(label).to(x.dtype)

    def one_hot(self, label: Tensor) -> Tensor:
        """(B,) class indices -> (B, num_classes) zeros and ones, single precision."""
        return F.one_hot(label, self.num_classes).float()

    def rest(self, x: Tensor) -> Tensor:
        """x itself."""
        return x

    def whole(self, rest: Tensor, given: Tensor) -> Tensor:
        """``rest`` itself."""
        return rest

    def check_classes(self, num_classes: int | None) -> None:
        if num_classes is None:
            raise UserError("a model conditioned on the class label needs labelled data, but these have no labels")
        if num_classes > self.num_classes:
            raise UserError(
                f"the data have {num_classes} classes, but the condition is one of {self.num_classes}: set num_classes"
            )


class GivenHalf(Condition):
    """One half of an image is given; the other half is left to tell.

    Sohn, Lee & Yan, Learning Structured Output Representation using Deep Conditional Generative Models (2015),
    https://papers.nips.cc/paper/5775, give one to three quadrants of MNIST's images.

    Args:
        image_shape: (C, H, W) of the whole image.
        side: which half is given.

    Raises:
        UserError: the image can't be halved so.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], side: Literal["left", "right", "top", "bottom"] = "left"
    ) -> None:
        super().__init__()
        check_at_least(self, 1, image_shape=image_shape)
        self._dim = 3 if side in ("left", "right") else 2  # of (B, C, H, W)
        self._given_first = side in ("left", "top")
        if len(image_shape) != 3 or image_shape[self._dim - 1] % 2:
            raise UserError(
                f"GivenHalf divides images (C, H, W) of even {'width' if self._dim == 3 else 'height'}, not those of "
                f"shape {tuple(image_shape)}"
            )
        shape = list(image_shape)
        shape[self._dim - 1] //= 2
        self.shape = tuple(shape)
        self.description = f"the {side} half of the image"

    def given(self, x: Tensor, label: Tensor | None) -> Tensor:
        """(B, C, H, W) -> (B, *shape), that half's pixels; ``label`` isn't looked at."""
        first, second = x.chunk(2, self._dim)
        return first if self._given_first else second

    def rest(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, *shape), the other half's pixels."""
        first, second = x.chunk(2, self._dim)
        return second if self._given_first else first

    def whole(self, rest: Tensor, given: Tensor) -> Tensor:
        """Two halves -> (B, C, H, W)."""
        return torch.cat([given, rest] if self._given_first else [rest, given], self._dim)
