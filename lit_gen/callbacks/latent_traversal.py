"""Pictures of what each coordinate of a code does."""

import torch
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.pictures import image_grid
from lit_gen.callbacks.validation_picture import ValidationPicture
from lit_gen.errors import UserError
from lit_gen.protocols import Codes


class LatentTraversal(ValidationPicture):
    """Saves ``samples/traversal_<step>.png``: one validation example's code with one coordinate moved at a time.

    As Higgins et al., beta-VAE (2017), Fig. 4, https://openreview.net/forum?id=Sy2fzU9gl. A row for each
    coordinate: the example itself, then what its code decodes to with this coordinate at evenly spaced values from
    -limit to limit. A coordinate that the decoder has no use for gives a row of equal pictures.

    Args:
        num_values: values along each coordinate.
        limit: the greatest value, in the code's own units; N(0, 1) is within 3 of 0 in 99.7 of 100 cases.
        example: which validation example, from 0.
        every_n_epochs: a picture at the validation of every n-th epoch.

    Raises:
        UserError: a number out of range; as in ``ValidationPicture``.
    """

    name = "traversal"

    def __init__(self, num_values: int = 11, limit: float = 3.0, example: int = 0, every_n_epochs: int = 1) -> None:
        if num_values < 2:
            raise UserError(f"LatentTraversal needs num_values of at least 2, got {num_values}.")
        if not limit > 0:
            raise UserError(f"LatentTraversal needs a limit above 0, got {limit}.")
        if example < 0:
            raise UserError(f"LatentTraversal needs an example of at least 0, got {example}.")
        super().__init__(example + 1, every_n_epochs)
        self.num_values = num_values
        self.limit = limit

    def draw(self, model: Codes, x: Tensor, codes: Tensor) -> Image.Image:
        """See the class; of fewer validation examples than asked for, the last is taken."""
        dim = codes.shape[1]
        values = torch.linspace(-self.limit, self.limit, self.num_values, device=codes.device, dtype=codes.dtype)
        moved = codes[-1].repeat(dim, self.num_values, 1)
        coordinate = torch.arange(dim, device=codes.device)
        moved[coordinate, :, coordinate] = values
        decoded = model.decode(moved.flatten(0, 1)).to(x).unflatten(0, (dim, self.num_values))
        rows = torch.cat([x[-1].expand(dim, 1, *x.shape[1:]), decoded], dim=1)
        names = [f"z{number + 1}\n{value:.2g}" for number, value in enumerate(codes[-1].tolist())]
        columns = ["data", *(f"{round(value, 4):.3g}" for value in values.tolist())]  # the middle is 0 but for rounding
        return image_grid(rows.flatten(0, 1), self.num_values + 1, rows=names, columns=columns)

    def title(self, codes: Tensor) -> str:
        """See the class."""
        return (
            f"traversals: each coordinate of a code from {-self.limit:g} to {self.limit:g}\nabove: its values; on the "
            f"left: the coordinate and its value in the code of validation example {len(codes) - 1}"
        )
