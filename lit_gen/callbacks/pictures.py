"""Pictures of batches, and where they go: the run folder and every logger that takes pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor

from lit_gen.atomic_file import replacing
from lit_gen.callbacks.captions import labelled, titled
from lit_gen.callbacks.scatter import scatter
from lit_gen.errors import UserError

TOLERANCE = 1e-5
"""How far beyond [0, 1] a pixel may lie: rounding in the last place of a float16 is no mistake, tanh's range is."""

SMALLEST_CELL = 64
"""Images with smaller sides are enlarged by a whole number: an 8 x 8 digit can't be made out on a screen."""

ENLARGED_SIDE = 1600
"""No side of a grid grows beyond so many pixels by enlargement: it should fit on a screen."""

MOST_PIXELS = 80_000_000
"""Pixels in a grid at most: beyond some 89 million viewers, Pillow among them, suspect an attack."""

MOST_POINTS = 1_000_000


def image_grid(
    images: Tensor,
    num_columns: int | None = None,
    padding: int = 2,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    scale: int | None = None,
) -> Image.Image:
    """Lay images out row by row, on white, in the lower right corner of a picture that may have labels.

    Args:
        images: (N, C, H, W) in [0, 1], C = 1 (grey) or 3 (RGB). Pixels are rounded to the nearest of 256 levels.
        num_columns: images in a row; by default the grid is as square as it gets.
        padding: white pixels around each image; 0 joins them seamlessly.
        rows: labels of the rows, see ``captions.labelled``.
        columns: labels of the columns.
        scale: how many pixels of the picture make a side of an image's pixel; None enlarges small images.

    Raises:
        UserError: if ``images`` has another shape, or values that aren't finite or lie outside [0, 1], or the picture
            would be too large.
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3) or images.shape[0] == 0:
        raise UserError(f"a picture is made of (N, 1 or 3, H, W) images, not of shape {tuple(images.shape)}.")
    _check_pixels(images)
    num_columns = num_columns or columns_of(len(images))
    num_rows = -(-len(images) // num_columns)
    scale = scale or _scale(num_rows, num_columns, images.shape[2:], padding)
    check_grid(len(images), tuple(images.shape[1:]), scale, padding)
    levels = enlarged(pixel_levels(images), scale)
    count, channels, height, width = levels.shape
    cell = (height + 2 * padding, width + 2 * padding)
    canvas = torch.full((num_rows, num_columns, channels, *cell), 255, dtype=torch.uint8)
    inside = canvas.view(num_rows * num_columns, channels, *cell)[:count]
    inside[..., padding : padding + height, padding : padding + width] = levels
    picture = canvas.permute(0, 3, 1, 4, 2).reshape(num_rows * cell[0], num_columns * cell[1], channels).numpy()
    grid = Image.fromarray(picture if channels == 3 else picture[..., 0])
    return labelled(grid, num_columns, num_rows, rows, columns)


def columns_of(count: int) -> int:
    """How many columns make a grid of ``count`` images as square as it gets."""
    return int(np.ceil(np.sqrt(count)))


def _scale(num_rows: int, num_columns: int, size: Sequence[int], padding: int) -> int:
    """What makes the smaller side of an image ``SMALLEST_CELL`` pixels, or less where the grid would grow too large."""
    sides = zip((num_rows, num_columns), size, strict=True)
    most = min((ENLARGED_SIDE // number - 2 * padding) // side for number, side in sides)
    return max(1, min(-(-SMALLEST_CELL // min(size)), most))


def check_grid(count: int, shape: tuple[int, ...], scale: int = 1, padding: int = 2) -> None:
    """Refuse a picture that is too large to look at, before anything for it is computed.

    Args:
        count: images or points.
        shape: of one.

    Raises:
        UserError: says how large it would be.
    """
    if len(shape) == 1 and count > MOST_POINTS:
        raise UserError(f"a picture of {count:,} points: at most {MOST_POINTS:,} can be drawn.")
    if len(shape) != 3:
        return
    pixels = count * (shape[1] * scale + 2 * padding) * (shape[2] * scale + 2 * padding)
    if pixels > MOST_PIXELS:
        raise UserError(
            f"a grid of {count:,} images of {shape[1]} x {shape[2]} has {pixels / 1e6:,.0f} million pixels; viewers "
            f"open {MOST_PIXELS / 1e6:.0f} million."
        )


def pixel_levels(images: Tensor) -> Tensor:
    """(N, C, H, W) in [0, 1] -> uint8 on the CPU, each pixel the nearest of 256 levels.

    Raises:
        UserError: values that aren't finite or lie outside [0, 1].
    """
    _check_pixels(images)
    return images.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)


def enlarged(levels: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) -> (N, C, scale H, scale W), each pixel a square."""
    return levels.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def _check_pixels(images: Tensor) -> None:
    low, high = images.detach().aminmax()
    low, high = float(low), float(high)
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise UserError(
            f"pixels reach from {low:.4g} to {high:.4g}, outside [0, 1]: a model that works in another range must "
            "convert at its own edge."
        )


def picture_of(
    x: Tensor, num_columns: int | None = None, beside: Tensor | None = None, name: str = "model", **grid
) -> Image.Image:
    """A picture of a batch: a grid of images (N, C, H, W), or a scatter of points (N, 2) beside others.

    Args:
        x: the batch.
        num_columns: images in a row.
        beside: points to compare with.
        name: what the points are.
        **grid: labels and scale, see ``image_grid``.

    Raises:
        UserError: if examples of this shape can't be drawn.
    """
    if x.dim() == 4:
        return image_grid(x, num_columns, **grid)
    if x.dim() == 2 and x.shape[1] == 2:
        check_grid(len(x), (2,))
        return scatter(x, beside, title=name)
    raise UserError(
        f"an example of shape {tuple(x.shape[1:])} can't be drawn: only images (C, H, W) and points (2,) can; "
        "take the pictures out of the config's callbacks."
    )


def batches_done(trainer: Trainer) -> int:
    """Training batches finished so far, over all epochs and resumed runs: the number in a picture's name.

    ``trainer.global_step`` counts optimizer steps, of which an adversarial model takes several a batch.
    """
    return trainer.fit_loop.epoch_loop.total_batch_idx + 1


def save_picture(trainer: Trainer, name: str, image: Image.Image, title: str) -> None:
    """Write ``<run>/samples/<name>_<step:07d>.png``, and give the picture to every logger that takes pictures.

    Does nothing on other ranks than zero.

    Args:
        trainer: knows the run folder, the step and the loggers.
        name: begins the file's name.
        image: what to show; stays as it is.
        title: what it shows, in words. It is written above, in training with the number of batches.
    """
    if not trainer.is_global_zero:
        return
    step = batches_done(trainer)
    if trainer.state.fn == TrainerFn.FITTING:
        first, *others = title.split("\n")
        when = f"after {step:,} batch{'es' * (step > 1)}" if step else "before training"
        title = "\n".join([f"{first}, {when}", *others])
    image = titled(image, title)
    with replacing(Path(trainer.default_root_dir) / "samples" / f"{name}_{step:07d}.png") as part:
        image.save(part, format="PNG")
    for logger in trainer.loggers:
        if hasattr(logger, "log_image"):
            logger.log_image(key=name, images=[image], step=step)
