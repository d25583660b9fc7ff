"""Pictures of two-dimensional codes, coloured by class."""

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.coded_split import check_codes, coded_split
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.pictures import save_picture
from lit_gen.errors import UserError
from lit_gen.randomness import derive_seed, seeded

_MOST_COLOURS = 20


class CodeScatter(Callback):
    """Saves ``samples/codes_val_<step>.png`` and, at the test, ``samples/codes_test_<step>.png``.

    Each point is an example's code; its colour is the class, with the data's ``class_names`` in the legend (class
    numbers where they have none). Only for codes of two dimensions: two of many would show whatever they happen to be.

    Args:
        num_points: of a larger split as many examples are drawn, evenly spaced.
        every_n_epochs: a picture at the validation of every n-th epoch; 0 only at the test (and at ``validate``).

    Raises:
        UserError: on counts out of range; before the first step, if the model's codes aren't two-dimensional.
    """

    def __init__(self, num_points: int = 5000, every_n_epochs: int = 0) -> None:
        for name, value, least in [("num_points", num_points, 1), ("every_n_epochs", every_n_epochs, 0)]:
            if value < least:
                raise UserError(f"CodeScatter needs {name} of at least {least}, got {value}.")
        self.num_points = num_points
        self.every_n_epochs = every_n_epochs

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_codes("CodeScatter", trainer, pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batch = next(iter(trainer.datamodule.reference_loader("train")))
        with eval_mode(pl_module), seeded(derive_seed("codes"), pl_module.device):
            try:
                code = pl_module.encode(batch.x[:2].to(pl_module.device))
            except UserError:  # a PCA that has found nothing yet: looked at when there is something to draw
                return
        _check_dimension(code.shape[1])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        asked_for = trainer.state.fn == TrainerFn.VALIDATING
        due = self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if asked_for or (due and not trainer.sanity_checking):
            self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "test")

    def _draw(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        coded = coded_split(trainer, pl_module, split, self.num_points, keep_x=False).over_ranks()
        _check_dimension(coded.code.shape[1])
        if trainer.is_global_zero:
            names = list(getattr(trainer.datamodule, "class_names", None) or [])
            title = f"{len(coded.code)} {split} examples"
            save_picture(trainer, f"codes_{split}", scatter_by_class(coded.code, coded.label, names, title))


def _check_dimension(dim: int) -> None:
    if dim != 2:
        raise UserError(
            f"CodeScatter draws codes of 2 dimensions, not of {dim}: give the model a code of 2 or take the callback "
            "out of the config."
        )


def scatter_by_class(points: Tensor, label: Tensor | None, names: list[str], title: str) -> Image.Image:
    """Draw points of the plane, with a legend of the classes beside them.

    Args:
        points: (N, 2). The axes hold 99 of 100 of them in each coordinate; the title counts those beyond.
        label: (N,) class indices, or None for a single colour.
        names: what to call class i; classes beyond its end are called by their numbers.
        title: of the picture.

    Raises:
        UserError: if coordinates aren't finite.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # In an order of chance, so that no class lies on top of the others for being the last.
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    points = points.detach().float().cpu()[order].numpy()
    label = None if label is None else label.cpu()[order].numpy()
    if not np.isfinite(points).all():
        raise UserError("the codes to draw aren't all finite: has the model diverged?")
    low, high = _limits(points)
    classes = [] if label is None else sorted(set(label.tolist()))
    few = len(classes) <= _MOST_COLOURS
    # The ten strong colours of tab20 before their ten pale ones; of very many classes a wheel.
    shades = [colormaps["tab20"](2 * number % 20 + number // 10) for number in range(_MOST_COLOURS)]
    colour = {
        value: shades[number] if few else colormaps["hsv"](number / len(classes))
        for number, value in enumerate(classes)
    }
    colours = "C0" if label is None else [colour[value] for value in label.tolist()]
    figure = Figure(figsize=(8 if classes and few else 6, 6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.scatter(points[:, 0], points[:, 1], s=6, linewidths=0, alpha=0.7, c=colours)
    for value in classes if few else []:
        name = names[value] if value < len(names) else str(value)
        axis.scatter([], [], s=30, color=colour[value], label=name)
    if classes and few:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    outside = int(((points < low) | (points > high)).any(axis=1).sum())
    axis.set_title(title + (f" ({outside} beyond the axes)" if outside else ""), fontsize=10)
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="code, 1st coordinate", ylabel="2nd coordinate")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _limits(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per coordinate, the range of the middle 99 of 100 with a margin of a tenth."""
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.1 * np.maximum(high - low, 1e-3)
    return low - margin, high + margin
