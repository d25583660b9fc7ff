"""Pictures of a two-dimensional latent space: what each place decodes to."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.first_examples import FirstExamples
from lit_gen.callbacks.intervals import due
from lit_gen.callbacks.pictures import picture_of, save_picture
from lit_gen.errors import UserError
from lit_gen.protocols import Codes, PriorQuantiles
from lit_gen.randomness import derive_seed, seeded


class LatentManifold(Callback):
    """Saves ``samples/manifold_<step>.png``.

    The manifold is decoded at a grid of quantiles of the prior, so that each picture stands for an equal share of
    what the model draws: Kingma & Welling, Auto-Encoding Variational Bayes (2014), Fig. 4,
    https://arxiv.org/abs/1312.6114. The first coordinate grows to the right, the second upwards, as in the
    pictures of ``CodeScatter``, which show where each class lies.

    Args:
        num_per_side: quantiles along each coordinate.
        every_n_epochs: a picture at the validation of every n-th epoch.

    Raises:
        UserError: on counts below 1; at setup, if the model's latent space isn't two-dimensional or its prior has no
            quantiles.
    """

    def __init__(self, num_per_side: int = 20, every_n_epochs: int = 1) -> None:
        for name, value in [("num_per_side", num_per_side), ("every_n_epochs", every_n_epochs)]:
            if value < 1:
                raise UserError(f"LatentManifold needs {name} of at least 1, got {value}.")
        self.num_per_side = num_per_side
        self.every_n_epochs = every_n_epochs
        self._examples = FirstExamples(1)  # only of an example does one know how long its code is

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not (isinstance(pl_module, Codes) and isinstance(pl_module, PriorQuantiles)):
            raise UserError(
                f"LatentManifold needs a model with encode(x), decode(z) and prior_quantile(p), which a "
                f"{type(pl_module).__name__} hasn't; take the callback out of the config."
            )
        _check_dimension(getattr(getattr(pl_module, "prior", None), "dim", 2))
        # Refused now rather than after an epoch.
        pl_module.prior_quantile(torch.full((1, 2), 0.5, device=pl_module.device))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._examples.clear()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if dataloader_idx == 0 and due(trainer, self.every_n_epochs):
            self._examples.add(batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not len(self._examples):
            return
        with eval_mode(pl_module), seeded(derive_seed("latent_manifold"), pl_module.device):
            _check_dimension(pl_module.encode(self._examples.x).shape[1])
            grid = pl_module.prior_quantile(self._probabilities(pl_module.device))
            decoded = pl_module.decode(grid)
        if not trainer.is_global_zero:
            return
        z = grid.view(self.num_per_side, self.num_per_side, 2)
        labels = {"rows": _values(z[:, 0, 1]), "columns": _values(z[0, :, 0])}
        manifold = picture_of(decoded, self.num_per_side, name="decoded quantiles", padding=0, **labels)
        title = "what a grid of quantiles of the prior decodes to\nz1 to the right, z2 upwards"
        save_picture(trainer, "manifold", manifold, title)

    def _probabilities(self, device: torch.device) -> Tensor:
        """(num_per_side^2, 2) midpoints of equal shares, row by row from the top left."""
        p = (torch.arange(self.num_per_side, device=device) + 0.5) / self.num_per_side
        second, first = torch.meshgrid(p.flip(0), p, indexing="ij")
        return torch.stack([first.flatten(), second.flatten()], dim=1)


def _values(z: Tensor) -> list[str]:
    return [f"{value:.2f}" for value in z.tolist()]


def _check_dimension(dim: int) -> None:
    if dim != 2:
        raise UserError(
            f"LatentManifold draws a latent space of 2 dimensions, not of {dim}: set the model's latent size to 2 or "
            "take the callback out of the config."
        )
