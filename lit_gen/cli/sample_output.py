"""Where ``lit-gen sample`` writes: a picture, a folder of pictures with the samples' own pixels, or an .npz."""

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lit_gen.atomic_file import replacing, replacing_folder
from lit_gen.cli.sample_progress import SampleProgress
from lit_gen.errors import UserError

if TYPE_CHECKING:  # slow to import, and mistakes in the options are found without
    from PIL import Image
    from torch import Tensor

PICTURES = (".png", ".jpg", ".jpeg")
ARRAYS = ".npz"
LEAST_DIGITS = 6
"""Of a sample's number in its file's name."""

BLOCK_BYTES = 4096
"""What the smallest file takes on most disks."""


class Output(NamedTuple):
    """Where to write, and how.

    Attributes:
        path: of the file or the folder.
        is_folder: whether it is a folder of pictures; otherwise the path's suffix says what.
        scale: how many pixels make a side of a sample's pixel; None for 1 in a folder, and for what can be seen well in
            a grid.
    """

    path: Path
    is_folder: bool
    scale: int | None


def output_of(out: str, scale: int | None, overwrite: bool) -> Output:
    """Where the options say to write, as far as can be checked before anything is drawn.

    Args:
        out: a folder if it ends in a slash, is one, or has no suffix; otherwise a picture or an .npz.
        scale: as in ``Output``.
        overwrite: whether numbered samples in a folder may be replaced.

    Raises:
        UserError: a place that can't be written to, or a folder that isn't empty.
    """
    path = Path(out)
    if not out or "\0" in out:
        raise UserError(f"--out={out!r} names no file: such as grid.png, folder/ or samples.npz")
    if scale is not None and scale < 1:
        raise UserError(f"--scale must be at least 1, the samples' own pixels, not {scale}")
    suffix = path.suffix.lower()
    known = suffix in (*PICTURES, ARRAYS)
    is_folder = out.endswith(("/", os.sep)) or not path.suffix or (os.path.isdir(path) and not known)
    if not is_folder and not known:
        raise UserError(f"--out={out}: a picture (.png, .jpg), an .npz, or a folder/, not {path.suffix}")
    if scale is not None and not is_folder and suffix == ARRAYS:
        raise UserError("--scale enlarges pictures, but an .npz holds the samples as they are: leave it out")
    _check_place(path, is_folder)
    if is_folder and path.is_dir() and not overwrite:
        others = sorted(entry.name for entry in path.iterdir())
        if others:
            raise UserError(
                f"--out={out}: the folder isn't empty, it holds {_listed(others)}; name another one, or have the "
                "numbered samples in it replaced with --overwrite"
            )
    return Output(path, is_folder, scale)


def _check_place(path: Path, is_folder: bool) -> None:
    try:
        if is_folder and path.exists() and not path.is_dir():
            raise UserError(f"--out={path}: there is a file of that name, so it can't be a folder")
        if not is_folder and path.exists() and not path.is_file():
            what = "folder" if path.is_dir() else "device or pipe"
            raise UserError(f"--out={path}: there is a {what} of that name; name a file that is new or may be replaced")
        above = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    if above != path.absolute() and not above.is_dir():
        raise UserError(f"--out={path}: {above} is a file, not a folder")
    folder = above if above.is_dir() else above.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"--out={path}: the folder {folder} can't be written to")


def _listed(names: list[str]) -> str:
    shown = ", ".join(name if len(name) <= 40 else name[:37] + "..." for name in names[:2])
    return shown if len(names) <= 2 else f"{shown} and {len(names) - 2:,} more"


def is_numbered(name: str) -> bool:
    """Whether a file's name is one that samples get."""
    return re.fullmatch(rf"[0-9]{{{LEAST_DIGITS},}}\.png", name) is not None


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _instead(advice: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; {advice}") from error


def write_samples(
    output: Output, parts: Iterable["Tensor"], num_samples: int, picture: Callable[["Tensor"], "Image.Image"]
) -> None:
    """Write samples as they are drawn; only a picture needs all of them in memory.

    Args:
        output: where.
        parts: (B, *event_shape) each, ``num_samples`` in all, drawn as they are asked for.
        num_samples: how many.
        picture: makes the picture of all samples, where one is asked for.

    Raises:
        UserError: pictures of samples that aren't any, too many for the memory or the disk, or the place cannot be
            written.
    """
    with SampleProgress(num_samples, output.path) as progress, _written(output.path):
        if output.is_folder:
            _write_folder(output, parts, num_samples, progress)
        elif output.path.suffix.lower() == ARRAYS:
            _write_array(output.path, parts, num_samples, progress)
        else:
            write_picture(output, picture(_gathered(parts, num_samples, output.scale, progress)))


def write_picture(output: Output, picture: "Image.Image") -> None:
    """Write a picture, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    with _written(output.path), replacing(output.path) as part:
        picture.save(part)


def write_arrays(output: Output, arrays: dict[str, "Tensor"]) -> None:
    """Write an .npz of named arrays, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    import numpy as np

    with _written(output.path), replacing(output.path) as part:
        np.savez_compressed(part, **{name: array.numpy() for name, array in arrays.items()})


def _write_folder(output: Output, parts: Iterable["Tensor"], num_samples: int, progress: SampleProgress) -> None:
    from PIL import Image

    from lit_gen.callbacks.pictures import check_grid, enlarged, pixel_levels

    digits, number, scale, num_bytes = max(LEAST_DIGITS, len(str(num_samples - 1))), 0, output.scale or 1, 0
    progress.check_num_files()
    with replacing_folder(output.path, is_numbered) as folder:
        for x in parts:
            check_drawable(x, "a folder holds pictures; ask for an .npz")
            check_grid(1, tuple(x.shape[1:]), scale, padding=0)
            levels = enlarged(pixel_levels(x), scale).permute(0, 2, 3, 1).numpy()  # (B, H, W, C)
            for image in levels:
                file = folder / f"{number:0{digits}}.png"
                Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(file)
                number += 1
            if not num_bytes:
                num_bytes = len(x) * max(BLOCK_BYTES, file.stat().st_size)
            progress.after(x, num_bytes)


def _write_array(path: Path, parts: Iterable["Tensor"], num_samples: int, progress: SampleProgress) -> None:
    """As ``numpy.savez_compressed(path, samples=...)``, part by part."""
    import numpy as np

    with (
        replacing(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("samples.npy", "w", force_zip64=True) as stream,
    ):
        for number, x in enumerate(parts):
            array = np.ascontiguousarray(x.numpy())
            if number == 0:
                kind = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False}
                np.lib.format.write_array_header_1_0(stream, {**kind, "shape": (num_samples, *array.shape[1:])})
            stream.write(array.tobytes())
            progress.after(x, file.stat().st_size or array.nbytes)


def _gathered(parts: Iterable["Tensor"], num_samples: int, scale: int | None, progress: SampleProgress) -> "Tensor":
    import torch

    from lit_gen.callbacks.pictures import check_grid

    gathered = []
    for x in parts:
        if not gathered:
            check_drawable(x, "ask for an .npz", points=scale is None)
            with _instead("ask for fewer, for a folder/ or for an .npz"):
                check_grid(num_samples, tuple(x.shape[1:]), scale or 1)
            progress.check_memory(3 * num_samples * x[0].numel() * x.element_size())  # floats, levels, the picture
        gathered.append(x)
        progress.after(x, 0)
    return torch.cat(gathered)


def check_drawable(x: "Tensor", instead: str, points: bool = False) -> None:
    """Refuse samples that are no images, or points of the plane where these are asked for too.

    Raises:
        UserError: says so, and ``instead``.
    """
    if not (x.dim() == 4 and x.shape[1] in (1, 3)) and not (points and x.dim() == 2 and x.shape[1] == 2):
        raise UserError(f"samples of shape {tuple(x.shape[1:])} are no grey or RGB images: {instead}")
