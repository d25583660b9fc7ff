"""Pictures of two-dimensional codes, coloured by class."""

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_gen.callbacks.coded_split import check_codes, coded_split
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.intervals import due_or_asked_for
from lit_gen.callbacks.pictures import save_picture
from lit_gen.callbacks.scatter import scatter
from lit_gen.errors import UserError
from lit_gen.randomness import derive_seed, seeded


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
        if due_or_asked_for(trainer, self.every_n_epochs):
            self._draw(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module, "test")

    def _draw(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        coded = coded_split(trainer, pl_module, split, self.num_points, keep_x=False).over_ranks()
        _check_dimension(coded.code.shape[1])
        if trainer.is_global_zero:
            names = list(getattr(trainer.datamodule, "class_names", None) or [])
            title = f"{len(coded.code)} {split} examples"
            picture = scatter(coded.code, label=coded.label, names=names, title=title, axis="z")
            coloured = "" if coded.label is None else ", coloured by class"
            save_picture(trainer, f"codes_{split}", picture, f"codes of the {split} split{coloured}")


def _check_dimension(dim: int) -> None:
    if dim != 2:
        raise UserError(
            f"CodeScatter draws codes of 2 dimensions, not of {dim}: give the model a code of 2 or take the callback "
            "out of the config."
        )
