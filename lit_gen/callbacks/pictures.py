"""Pictures of batches, and where they go: the run folder and every logger that takes pictures."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from lit_gen.atomic_file import replacing
from lit_gen.callbacks.scatter import scatter
from lit_gen.errors import UserError

TOLERANCE = 1e-5
"""How far beyond [0, 1] a pixel may lie: rounding in the last place of a float16 is no mistake, tanh's range is."""

SMALLEST_CELL = 32
"""Images with smaller sides are enlarged by a whole number: an 8 x 8 digit can't be made out on a screen."""


def image_grid(images: Tensor, num_columns: int | None = None, padding: int = 2) -> Image.Image:
    """Lay images out row by row, on white.

    Args:
        images: (N, C, H, W) in [0, 1], C = 1 (grey) or 3 (RGB). Pixels are rounded to the nearest of 256 levels.
        num_columns: images in a row; by default the grid is as square as it gets.
        padding: white pixels around each image; 0 joins them seamlessly.

    Raises:
        UserError: if ``images`` has another shape, or values that aren't finite or lie outside [0, 1].
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3) or images.shape[0] == 0:
        raise UserError(f"a picture is made of (N, 1 or 3, H, W) images, not of shape {tuple(images.shape)}.")
    _check_pixels(images)
    scale = max(1, -(-SMALLEST_CELL // min(images.shape[2:])))
    levels = images.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    levels = levels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    count, channels, height, width = levels.shape
    columns = num_columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    cell = (height + 2 * padding, width + 2 * padding)
    canvas = torch.full((rows, columns, channels, *cell), 255, dtype=torch.uint8)
    inside = canvas.view(rows * columns, channels, *cell)[:count]
    inside[..., padding : padding + height, padding : padding + width] = levels
    picture = canvas.permute(0, 3, 1, 4, 2).reshape(rows * cell[0], columns * cell[1], channels).numpy()
    return Image.fromarray(picture if channels == 3 else picture[..., 0])


def _check_pixels(images: Tensor) -> None:
    low, high = images.detach().aminmax()
    low, high = float(low), float(high)
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise UserError(
            f"pixels reach from {low:.4g} to {high:.4g}, outside [0, 1]: a model that works in another range must "
            "convert at its own edge."
        )


def picture_of(x: Tensor, num_columns: int | None = None, beside: Tensor | None = None) -> Image.Image:
    """A picture of a batch: a grid of images (N, C, H, W), or a scatter of points (N, 2) beside others.

    Raises:
        UserError: if examples of this shape can't be drawn.
    """
    if x.dim() == 4:
        return image_grid(x, num_columns)
    if x.dim() == 2 and x.shape[1] == 2:
        return scatter(x, beside)
    raise UserError(
        f"an example of shape {tuple(x.shape[1:])} can't be drawn: only images (C, H, W) and points (2,) can; "
        "take the pictures out of the config's callbacks."
    )


def batches_done(trainer: Trainer) -> int:
    """Training batches finished so far, over all epochs and resumed runs: the number in a picture's name.

    ``trainer.global_step`` counts optimizer steps, of which an adversarial model takes several a batch.
    """
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def save_picture(trainer: Trainer, name: str, image: Image.Image) -> None:
    """Write ``<run>/samples/<name>_<step:07d>.png`` and hand the picture to every logger that takes pictures.

    Does nothing on other ranks than zero.
    """
    if not trainer.is_global_zero:
        return
    step = batches_done(trainer)
    with replacing(Path(trainer.default_root_dir) / "samples" / f"{name}_{step:07d}.png") as part:
        image.save(part, format="PNG")
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(key=name, images=[image], step=step)
