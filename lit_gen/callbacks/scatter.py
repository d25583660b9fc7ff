"""Pictures of points of the plane."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lit_gen.errors import UserError, printable

_MOST_COLOURS = 20


def scatter(
    points: Tensor,
    beside: Tensor | None = None,
    label: Tensor | None = None,
    names: Sequence[str] = (),
    title: str = "",
    axis: str = "x",
) -> Image.Image:
    """Draw points, and on the same axes to their right those that they should resemble.

    Args:
        points: (N, 2).
        beside: (M, 2), whose range sets the axes. Without it they hold 99 of 100 ``points`` in each coordinate.
        label: (N,) class indices, which colour ``points``; up to 20 classes have a legend.
        names: what to call class i; classes beyond its end are called by their numbers.
        title: of ``points``; the number of those beyond the axes is added to it.
        axis: name of the space, whose coordinates are called by it and a number from 1.

    Raises:
        UserError: if coordinates aren't finite.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points, label = _in_an_order_of_chance(points, label)
    panels = [points] if beside is None else [points, beside.detach().float().cpu().numpy()]
    if not all(np.isfinite(panel).all() for panel in panels):
        raise UserError("the points to draw aren't all finite: has the model diverged?")
    low, high = _most_of(points) if beside is None else _square_around(panels[1])
    classes = {} if label is None else _colours(label)
    legend = 0 < len(classes) <= _MOST_COLOURS
    figure = Figure(figsize=(6 * len(panels) + 2 * legend, 6.2), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for area, panel, name in zip(axes, panels, [title or "model" * (beside is not None), "data"], strict=False):
        coloured = panel is points and bool(classes)
        shades = [classes[value] for value in label.tolist()] if coloured else "C0"
        area.scatter(panel[:, 0], panel[:, 1], s=6, linewidths=0, alpha=0.7, c=shades)
        outside = int(((panel < low) | (panel > high)).any(axis=1).sum())
        area.set_title(name + (f" ({outside} beyond the axes)" if outside else ""), fontsize=10)
        area.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="auto" if beside is None else "equal")
        area.set(xlabel=f"{axis}1", ylabel=f"{axis}2")
    if legend:
        for value, shade in classes.items():
            axes[0].scatter([], [], s=30, color=shade, label=_name(value, names))
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _name(value: int, names: Sequence[str]) -> str:
    # A folder's name may be anything; dollars would be taken for formulas, and a leading underscore for no name.
    name = printable(str(names[value])).replace("$", r"\$") if value < len(names) else str(value)
    return f" {name}" if name.startswith("_") else name


def _in_an_order_of_chance(points: Tensor, label: Tensor | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Both shuffled alike, so that no class lies on top of the others for being the last."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    return points.detach().float().cpu()[order].numpy(), None if label is None else label.cpu()[order].numpy()


def _colours(label: np.ndarray) -> dict[int, tuple[float, ...]]:
    """A colour for each class that there is, in ascending order."""
    from matplotlib import colormaps

    classes = sorted(set(label.tolist()))
    if len(classes) > _MOST_COLOURS:
        return {value: colormaps["hsv"](number / len(classes)) for number, value in enumerate(classes)}
    # The ten strong colours of tab20 before their ten pale ones.
    return {value: colormaps["tab20"](2 * number % 20 + number // 10) for number, value in enumerate(classes)}


def _square_around(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A square around all points with a margin of a tenth."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-3) * 1.1
    return middle - half, middle + half


def _most_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per coordinate, the range of the middle 99 of 100 with a margin of a tenth."""
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.1 * np.maximum(high - low, 1e-3)
    return low - margin, high + margin
