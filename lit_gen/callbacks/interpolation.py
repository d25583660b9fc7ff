"""Pictures of the way from one example's code to another's."""

import torch
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.pictures import image_grid
from lit_gen.callbacks.validation_picture import ValidationPicture
from lit_gen.errors import UserError
from lit_gen.latent_walks import lerp
from lit_gen.protocols import Codes


class Interpolation(ValidationPicture):
    """Saves ``samples/interpolation_<step>.png``: a row for each pair of validation examples.

    The first example, what the codes on the straight line from its code to the other's decode to, both ends included,
    and the other example. Pairs are neighbours: the first and second, the third and fourth, and so on.

    Args:
        num_pairs: rows.
        num_steps: codes on the line, the two ends among them.
        every_n_epochs: a picture at the validation of every n-th epoch.

    Raises:
        UserError: a number out of range; as in ``ValidationPicture``; at the first picture, fewer than two validation
            examples.
    """

    name = "interpolation"

    def __init__(self, num_pairs: int = 6, num_steps: int = 9, every_n_epochs: int = 1) -> None:
        for name, value, least in [("num_pairs", num_pairs, 1), ("num_steps", num_steps, 2)]:
            if value < least:
                raise UserError(f"Interpolation needs {name} of at least {least}, got {value}.")
        super().__init__(2 * num_pairs, every_n_epochs)
        self.num_steps = num_steps

    def draw(self, model: Codes, x: Tensor, codes: Tensor) -> Image.Image:
        """See the class; as many pairs as there are examples for."""
        num_pairs = len(x) // 2
        if num_pairs == 0:
            raise UserError("Interpolation needs at least two validation examples in the first process.")
        first, last = codes[0 : 2 * num_pairs : 2], codes[1 : 2 * num_pairs : 2]
        line = lerp(first, last, torch.linspace(0, 1, self.num_steps))  # (pairs, steps, Z)
        decoded = model.decode(line.flatten(0, 1)).to(x).unflatten(0, line.shape[:2])
        pairs = x[: 2 * num_pairs].unflatten(0, (num_pairs, 2))
        rows = torch.cat([pairs[:, :1], decoded, pairs[:, 1:]], dim=1)
        names = [f"{2 * number} to {2 * number + 1}" for number in range(num_pairs)]
        steps = ["data", *(f"{t:.2g}" for t in torch.linspace(0, 1, self.num_steps).tolist()), "data"]
        return image_grid(rows.flatten(0, 1), self.num_steps + 2, rows=names, columns=steps)

    def title(self, codes: Tensor) -> str:
        """See the class."""
        return (
            "straight lines between the codes of validation examples\n"
            "numbers above: share of the way; on the left: numbers of the examples"
        )
