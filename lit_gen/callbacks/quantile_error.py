"""How far what a model draws of one number lies from its known quantile function."""

from collections.abc import Mapping

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor

from lit_gen.callbacks.pictures import save_picture
from lit_gen.callbacks.sample_figures import SampleFigures, count_name
from lit_gen.errors import UserError
from lit_gen.metrics.wasserstein1 import Wasserstein1
from lit_gen.protocols import FromLatents


class QuantileError(SampleFigures):
    """1-Wasserstein distance of samples from data of one number whose quantile function is known.

    Figure: ``wasserstein1_<N>`` of N samples, in the data's units; see ``lit_gen.metrics.wasserstein1``. N draws of the
    truth itself aren't at 0: of a standard normal distribution 10,000 are some 0.013 away.

    At each validation a picture too, ``samples/quantiles_<step>.png``: samples against their latents' ranks beside
    the exact quantile function, and their histogram beside the density. A map from the line that gives these data
    must be increasing or decreasing; a decreasing one is drawn from right to left. Latents of several numbers have no
    ranks: there samples are drawn against their own.

    Args:
        num_samples: N.
        **kwargs: as in ``SampleFigures``.

    Raises:
        UserError: as ``SampleFigures``; at setup, a model without latents, or data without a quantile function.
    """

    def __init__(self, num_samples: int = 10_000, **kwargs) -> None:
        super().__init__(num_samples, **kwargs)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if not isinstance(pl_module, FromLatents):
            raise UserError(
                f"QuantileError draws samples against their latents, of which a {type(pl_module).__name__} has none; "
                "take the callback out of the config."
            )
        data = trainer.datamodule
        if tuple(getattr(data, "event_shape", ())) != (1,) or not hasattr(data, "quantile"):
            raise UserError(
                f"QuantileError needs data of one number whose quantile function is known, as Pushforward, not "
                f"{type(data).__name__}; take the callback out of the config."
            )

    def figure_names(self, split: str) -> set[str]:
        """See the base class."""
        return {f"{split}/wasserstein1_{count_name(self.num_samples)}"}

    def measure(self, trainer: Trainer, pl_module: LightningModule, split: str, count: str) -> Mapping[str, float]:
        """See the class."""
        metric = Wasserstein1(trainer.datamodule.quantile).to(pl_module.device)
        metric.update(torch.empty(0, device=pl_module.device))  # a rank without a block has none
        for x in self.blocks(trainer, pl_module):
            metric.update(x)
        name = f"{split}/wasserstein1_{count}"
        self.protocols[name] = f"from the exact quantile function; {self.told_samples(trainer)}"
        if split == "val":
            # Every rank draws, though one picture is kept: a model whose weights are sharded needs all of them.
            # As many as for the figure: a rank of few is a poor estimate of a latent's cumulative probability.
            z = pl_module.draw_latents(self.samples_now(trainer))
            picture = quantile_picture(z, pl_module.from_latents(z), trainer.datamodule)
            save_picture(trainer, "quantiles", picture, f"{len(z):,} samples and the exact distribution")
        return {name: metric.compute()}


def quantile_picture(z: Tensor, x: Tensor, data) -> Image.Image:
    """Left, samples against ranks beside the quantile function; right, their histogram beside the density.

    Args:
        z: (N, Z) latents.
        x: (N, 1) samples of them.
        data: has ``quantile`` and ``log_prob``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    u = ((torch.arange(len(x)) + 0.5) / len(x)).double()
    learned, exact = in_order(z, x).double().numpy(), data.quantile(u).numpy()
    line = torch.linspace(float(exact[0]), float(exact[-1]), 401).double()[1:-1]
    figure = Figure(figsize=(12, 5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(u.numpy(), exact, color="C1", label="inverse distribution function")
    left.plot(u.numpy(), learned, color="C0", linestyle="", marker=".", markersize=2, label="model")
    left.set(xlabel="u, cumulative probability", ylabel="x", title="quantile function")
    right.hist(learned, bins=60, density=True, color="C0", alpha=0.5, label="model")
    right.plot(line.numpy(), data.log_prob(line[:, None]).exp().numpy(), color="C1", label="density")
    right.set(xlabel="x", ylabel="density", title="density")
    for axis in (left, right):
        axis.legend(frameon=False, fontsize=8)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def in_order(z: Tensor, x: Tensor) -> Tensor:
    """(N, Z) latents and (N, 1) samples -> (N,) samples by ascending latents, on the CPU.

    By descending ones where the samples fall more than they rise, and by themselves where Z is not 1.
    """
    x = x.detach().flatten().float().cpu()
    if z.shape[1] != 1:
        return x.sort().values
    along = x[z.detach().flatten().cpu().argsort()]
    pace = torch.arange(len(along)).double() - (len(along) - 1) / 2
    return along if float((pace * along).sum()) >= 0 else along.flip(0)
