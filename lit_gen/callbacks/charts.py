"""Charts: histograms, curves, surfaces and strips of densities."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from lit_gen.errors import UserError

_BINS = 50


def histograms(values: Mapping[str, Tensor], label: str, limits: tuple[float, float] | None = None) -> Image.Image:
    """Densities of several sets of numbers, (N,) each, on one axis; those that aren't finite are left out.

    Args:
        values: by what they are called.
        label: of the axis.
        limits: of the axis; None for what holds them all.
    """
    arrays = {name: _array(x) for name, x in values.items()}
    arrays = {name: x[np.isfinite(x)] for name, x in arrays.items()}
    every = np.concatenate(list(arrays.values()))
    low, high = limits or _range(every)
    figure, (axis,) = _figure(1, 6, 4)
    for name, x in arrays.items():
        axis.hist(x, bins=np.linspace(low, high, _BINS + 1), density=len(x) > 0, alpha=0.6, label=name)
    axis.set(xlabel=label, ylabel="density", xlim=(low, high))
    axis.legend(frameon=False)
    return _image(figure)


def curves_and_samples(
    at: Tensor, curves: Mapping[str, Tensor], real: Tensor, fake: Tensor, right: Mapping[str, Tensor]
) -> Image.Image:
    """A line's curves with histograms of real and generated points.

    Args:
        at: (R,) ascending places.
        curves: densities at these places, (R,) each, by what they are called.
        real: (N,) points.
        fake: (M,) points; those beyond the axis are left out.
        right: curves on an axis of their own, to the right.
    """
    at = _array(at)
    figure, (axis,) = _figure(1, 7, 4.5)
    for name, x, colour in (("data", real, "C0"), ("samples", fake, "C1")):
        inside = _array(x)
        inside = inside[(inside >= at[0]) & (inside <= at[-1])]
        edges = np.linspace(at[0], at[-1], 2 * _BINS + 1)
        axis.hist(inside, bins=edges, density=len(inside) > 0, alpha=0.4, color=colour, label=name)
    for name, y in curves.items():
        axis.plot(at, _array(y), color="black", linewidth=1, label=name)
    axis.set(xlabel="x", ylabel="density", xlim=(at[0], at[-1]))
    other = axis.twinx()
    for number, (name, y) in enumerate(right.items()):
        other.plot(at, _array(y), color=f"C{number + 2}", linestyle="--", label=name)
    other.set_ylabel(", ".join(right))
    if set(right) == {"D(x)"}:
        other.set_ylim(0, 1)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    return _image(figure)


def surface(horizontal: Tensor, vertical: Tensor, values: Tensor, real: Tensor, fake: Tensor, name: str) -> Image.Image:
    """A function over the plane as contours, with real and generated points upon it.

    Args:
        horizontal: (R,) ascending.
        vertical: (S,) ascending.
        values: (S, R).
        real: (N, 2).
        fake: (M, 2); those beyond the axes are counted in the title.
        name: of the function; the probability D(x) is shown from 0 to 1.
    """
    x, y, z, real, fake = (_array(part) for part in (horizontal, vertical, values, real, fake))
    if not np.isfinite(z).all():
        raise UserError("the discriminator's scores aren't all finite: has the model diverged?")
    figure, (axis,) = _figure(1, 7, 6.2)
    levels = np.linspace(0, 1, 21) if name == "D(x)" else 20
    figure.colorbar(axis.contourf(x, y, z, levels=levels, cmap="RdBu"), ax=axis, label=name)
    for called, points, colour in (("data", real, "black"), ("samples", fake, "C2")):
        axis.scatter(points[:, 0], points[:, 1], s=5, linewidths=0, c=colour, label=called)
    beyond = (fake[:, 0] < x[0]) | (fake[:, 0] > x[-1]) | (fake[:, 1] < y[0]) | (fake[:, 1] > y[-1])
    if beyond.any():
        axis.set_title(f"{int(beyond.sum())} samples beyond the axes", fontsize=10)
    axis.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal", xlabel="x1", ylabel="x2")
    axis.legend(loc="upper right", fontsize=8)
    return _image(figure)


def strip(panels: Mapping[str, Tensor]) -> Image.Image:
    """Densities of several sets of points side by side, on the axes that hold the first.

    Args:
        panels: (N, 1) or (N, 2) points by their titles. Those that aren't finite or lie beyond the axes are left out.
    """
    arrays = {title: _array(x) for title, x in panels.items()}
    from matplotlib.colors import PowerNorm

    first = next(iter(arrays.values()))
    ranges = [_range(column) for column in first.T]
    figure, axes = _figure(len(arrays), 2.2 * len(arrays), 2.6)
    for axis, (title, x) in zip(axes, arrays.items(), strict=True):
        x = x[np.isfinite(x).all(axis=1)]
        if len(ranges) == 2:
            # Every panel by its own densest bin, and its root: what is told is where samples are, few ones too.
            axis.hist2d(x[:, 0], x[:, 1], bins=64, range=ranges, cmap="Greens", norm=PowerNorm(0.5, vmin=0))
            axis.set_aspect("equal")
        else:
            inside = x[(x >= ranges[0][0]) & (x <= ranges[0][1])]
            axis.hist(inside, bins=_BINS, range=ranges[0], density=len(inside) > 0)
        axis.set_title(title, fontsize=9)
        axis.set(xlabel="x1" if len(ranges) == 2 else "x", yticks=[])
        axis.set_xticks(ranges[0], labels=[f"{end:.2g}" for end in ranges[0]], fontsize=8)
    axes[0].set(ylabel="x2" if len(ranges) == 2 else "density")
    if len(ranges) == 2:
        axes[0].set_yticks(ranges[1], labels=[f"{end:.2g}" for end in ranges[1]], fontsize=8)
    return _image(figure)


class Curve(NamedTuple):
    """Values over steps.

    Attributes:
        steps: (N,) ascending.
        values: (N,); those that aren't finite leave a gap.
    """

    steps: np.ndarray
    values: np.ndarray


def curves(panels: Mapping[str, Mapping[str, Curve]], label: str, units: Mapping[str, str]) -> Image.Image:
    """A panel for each term, with a curve for each split.

    An axis is logarithmic where all values are above 0 and the greatest is over a hundred times the least.

    Args:
        panels: curves by split, "train" or "val", by the panel's title.
        label: of the horizontal axis.
        units: of the vertical axes, by title, as far as they are known.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = _figure(columns, max(4.8 * columns, 5.5), 3.2 * rows, rows)
    for axis in axes[len(panels) :]:
        axis.remove()
    for axis in axes[1 : len(panels)]:
        axis.sharex(axes[0])
    for axis, (title, by_split) in zip(axes, panels.items(), strict=False):
        for split, curve in by_split.items():
            marker = "." if len(curve.steps) <= 30 else ""
            axis.plot(*curve, label=split, linewidth=1.2, marker=marker, color="C0" if split == "train" else "C1")
        finite = np.concatenate([curve.values[np.isfinite(curve.values)] for curve in by_split.values()])
        if len(finite) and finite.min() > 0 and finite.max() > 100 * finite.min():
            axis.set_yscale("log")
        axis.set_title(title, fontsize=10)
        axis.set(xlabel=label, ylabel=units.get(title, ""))
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.3)
    return _image(figure)


def square_around(points: Tensor) -> list[tuple[float, float]]:
    """(N, D) finite points -> D ranges of equal length that hold them all, with a margin of a fifth to either side."""
    low, high = points.amin(0), points.amax(0)
    half = max(float((high - low).max()) / 2, 1e-3) * 1.4
    return [(float(middle) - half, float(middle) + half) for middle in (low + high) / 2]


def _range(x: np.ndarray) -> tuple[float, float]:
    """What holds all of ``x`` with a margin of a tenth; (0, 1) for none."""
    if not len(x):
        return 0.0, 1.0
    low, high = float(x.min()), float(x.max())
    margin = 0.1 * max(high - low, 1e-3)
    return low - margin, high + margin


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()


def _figure(columns: int, width: float, height: float, rows: int = 1) -> tuple[Any, np.ndarray]:
    from matplotlib.figure import Figure  # slow to import, and only pictures need it

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).flatten()


def _image(figure) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
