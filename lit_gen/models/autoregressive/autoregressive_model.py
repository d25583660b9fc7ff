"""Autoregressive models: maximum likelihood by the chain rule, with any network that keeps to an order."""

import math

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Adam

from lit_gen.distributions.support import check_levels
from lit_gen.errors import UserError
from lit_gen.metrics.bits_per_dim import bits_per_dim
from lit_gen.models.autoregressive.causality import check_causality
from lit_gen.models.autoregressive.drawing import draw_cells, num_cells_of_rows
from lit_gen.models.base import GenerativeModel
from lit_gen.models.dry_run import check_splits, data_shape, try_network, undisturbed
from lit_gen.models.moving_average import ExponentialMovingAverage
from lit_gen.models.one_optimizer import one_optimizer
from lit_gen.protocols import AutoregressiveNetwork, Batch


class AutoregressiveModel(GenerativeModel):
    """p(x) = prod_s p(x_s | x_<s), the cells s of an example in an order that the network keeps to.

    van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Eq. 1-2,
    https://arxiv.org/abs/1601.06759

    Terms: ``loss``, -log p(x) in nats summed over the example, and where values are levels ``bits_per_dim``. A network
    of several orders is trained on one after the other, a batch each, and is a mixture of them in equal shares, whose
    probabilities (not their logarithms, nor logits) are averaged, as the ensembles of Uria, Murray & Larochelle, A Deep
    and Tractable Density Estimator (2014), https://arxiv.org/abs/1310.1757

    Args:
        network: (B, *event_shape) -> (B, P, *cell_shape), an ``AutoregressiveNetwork``.
        likelihood: head that makes the cells' distribution of the network's output: batch (B,), event event_shape.
        ema_decay: where given, likelihoods and samples are those of an exponential moving average of the weights.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule from the optimizer; it counts optimizer steps
            (``ReduceLROnPlateau`` watches val/loss).

    Attributes:
        naive_sampling: whether samples are drawn with the whole network for every cell, as a reference, rather than
            with what the network's own stepper keeps. Both give the same samples up to rounding.

    Raises:
        UserError: a decay out of range; in ``setup``, a network that sees what it is to tell, or parts that don't fit
            each other or the data.
    """

    progress_bar_terms = ("loss", "bits_per_dim")

    def __init__(
        self,
        network: nn.Module,
        likelihood: nn.Module,
        ema_decay: float | None = None,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(network, AutoregressiveNetwork):
            raise UserError(
                f"a {type(network).__name__} keeps to no order of cells: an autoregressive model needs a network "
                "such as lit_gen.networks.PixelCNN"
            )
        if ema_decay is not None and not 0.0 <= ema_decay < 1.0:
            raise UserError(f"ema_decay must be in [0, 1) or null, got {ema_decay}")
        self.network = network
        self.likelihood = likelihood
        self.network_average = None if ema_decay is None else ExponentialMovingAverage(network, ema_decay)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.naive_sampling = False

    @property
    def _best_network(self) -> AutoregressiveNetwork:
        """The averaged network where there is one."""
        return self.network if self.network_average is None else self.network_average.module

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.network.event_shape

    @property
    def num_levels(self) -> int | None:
        """Number of levels k / (num_levels - 1) that a value can have; None under a density."""
        return getattr(self.likelihood, "num_levels", None)

    def distribution(self, params: Tensor) -> Distribution:
        """(B, P, *cell_shape) -> p(x_s | x_<s) of all cells: batch (B,), event event_shape."""
        return self.likelihood(params.squeeze(1) if params.shape[1] == 1 else params)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        check_splits(self)

    def check_data(self, x: Tensor) -> None:
        """Refuse (B, *event_shape) examples that the likelihood is not of.

        Called on every split before the first step, on the first batch of each epoch and in every evaluation.

        Raises:
            UserError: there are some.
        """
        if self.num_levels is not None:
            check_levels(x, self.num_levels, type(self.likelihood).__name__)
        elif hasattr(self.likelihood, "check"):
            self.likelihood.check(x)

    def _given(self, label: Tensor | None) -> Tensor | None:
        """What the network is conditioned on of an example's label."""
        return None

    def log_prob(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(B,) values of log p(x) in nats, of the averaged weights where there are some; over all orders."""
        network, given = self._best_network, self._given(label)
        of_orders = [self.distribution(network(x, given, k)).log_prob(x) for k in range(network.num_orders)]
        return torch.stack(of_orders).logsumexp(0) - math.log(len(of_orders))

    def _terms(self, nll: Tensor, x: Tensor) -> dict[str, Tensor]:
        return {} if self.num_levels is None else {"bits_per_dim": bits_per_dim(nll.detach(), x[0].numel())}

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        if batch_idx == 0:
            self.check_data(batch.x)
        order = self.trainer.global_step % self.network.num_orders
        params = self.network(batch.x, self._given(batch.label), order)
        loss = -self.distribution(params).log_prob(batch.x).mean()
        return {"loss": loss, **self._terms(loss, batch.x)}

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.network_average is not None:
            self.network_average.update_parameters(self.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        self.check_data(batch.x)
        nll = -self.log_prob(batch.x, batch.label)
        return {"loss": nll, **self._terms(nll, batch.x)}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """log p(x) in nats, (B,)."""
        return self.log_prob(batch.x, batch.label)

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape) draws, each value one of the likelihood's levels.

        Of a network with several orders each draw has one of its own.
        """
        return self._draw(num_samples)

    def visible(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> the same with 0.5 in the lower half (with the middle row where H is odd)."""
        return torch.cat([x[:, :, : x.shape[2] // 2], torch.full_like(x[:, :, x.shape[2] // 2 :], 0.5)], 2)

    def complete(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (num_samples, B, C, H, W): the upper half, with draws of the rest."""
        return self.complete_rows(x, x.shape[2] // 2, num_samples, label)

    def complete_rows(self, x: Tensor, num_rows: int, num_samples: int, label: Tensor | None = None) -> Tensor:
        """Draw the rest of images whose first rows are given.

        Of a network with several orders, each of which must begin with these rows, a draw has one that is the likelier
        the likelier it finds them.

        Args:
            x: (B, C, H, W) in [0, 1]; taken for the nearest levels.
            num_rows: how many rows of them are given, from 0 to H.
            num_samples: draws of each.
            label: (B,) class indices for a conditional model.

        Returns:
            (num_samples, B, C, H, W).

        Raises:
            UserError: images of another shape, more rows than there are, or an order that doesn't begin with them.
        """
        shape = self.network.event_shape
        if len(shape) != 3 or tuple(x.shape[1:]) != shape:
            raise UserError(f"this model completes images of shape {shape}, not {tuple(x.shape[1:])}")
        if not 0 <= num_rows <= shape[1]:
            raise UserError(f"an image of {shape[1]} rows can't have {num_rows} of them given")
        if self.num_levels is not None:
            x = (x * (self.num_levels - 1)).round() / (self.num_levels - 1)
        x = x.repeat(num_samples, 1, 1, 1)
        label = None if label is None else label.repeat(num_samples)
        return self._draw(len(x), label, x, num_rows).view(num_samples, -1, *shape)

    def _draw(self, num: int, label: Tensor | None = None, x: Tensor | None = None, num_rows: int = 0) -> Tensor:
        """(num, *event_shape) draws; where ``x`` is given its first rows are kept."""
        network = self._best_network
        return draw_cells(
            network,
            self.distribution,
            num,
            self._given(label),
            known=x,
            num_known=0 if x is None else num_cells_of_rows(network, num_rows),
            naive=self.naive_sampling,
        )

    def configure_optimizers(self):
        return one_optimizer([p for p in self.parameters() if p.requires_grad], self.optimizer, self.scheduler)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _trial_label(self) -> Tensor | None:
        return None

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        if self.network.num_classes is not None and self._trial_label() is None:
            raise UserError(
                f"this {type(self.network).__name__} is conditioned on classes: take ClassConditionalAutoregressive"
                "Model, or num_classes: null"
            )
        label = self._trial_label()
        trial = lambda x: self.network(x, label)  # noqa: E731
        trial.in_shape = self.network.event_shape
        x = torch.zeros(2, *shape, device=self.device)
        params = try_network("the network", trial, x, "the data's examples")
        p = self.distribution(params)
        if tuple(p.event_shape) != shape:
            raise UserError(
                f"the network and the likelihood describe examples of shape {tuple(p.event_shape)}, but the data's are "
                f"{shape}: a network that goes by pixels needs a likelihood that ties their channels, as "
                "PixelLogisticMixtureHead"
            )
        check_causality(self.network, label, self.device)


class ClassConditionalAutoregressiveModel(AutoregressiveModel):
    """p(x|y) of a class y: an ``AutoregressiveModel`` whose network is conditioned on it.

    van den Oord et al., Conditional Image Generation with PixelCNN Decoders (2016), Section 2.3,
    https://arxiv.org/abs/1606.05328

    Samples are of every class as often as of another, or as asked for.

    Args:
        network: with ``num_classes``.
        likelihood: as in ``AutoregressiveModel``.
        **kwargs: as in ``AutoregressiveModel``.

    Raises:
        UserError: a network without classes; in ``setup`` also data with more, or without labels.
    """

    conditions_on = "the class label"

    def __init__(self, network: nn.Module, likelihood: nn.Module, **kwargs) -> None:
        super().__init__(network, likelihood, **kwargs)
        if network.num_classes is None:
            raise UserError(f"this {type(network).__name__} is conditioned on nothing: set its num_classes")
        self.num_classes = network.num_classes

    def _given(self, label: Tensor | None) -> Tensor:
        if label is None:
            raise UserError("a model conditioned on the class label needs labelled examples, but these have none")
        return label

    def _trial_label(self) -> Tensor:
        return torch.zeros(2, dtype=torch.long, device=self.device)

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape) draws, each class as likely."""
        return self.sample_classes(torch.randint(self.num_classes, (num_samples,), device=self.device))

    def sample_classes(self, label: Tensor) -> Tensor:
        """(B,) class indices -> (B, *event_shape) draws."""
        return self._draw(len(label), label)

    def setup(self, stage: str) -> None:
        classes = getattr(self.trainer.datamodule, "num_classes", self.num_classes)
        if classes is None:
            raise UserError("a model conditioned on the class label needs labelled data, but these have no labels")
        if classes > self.num_classes:
            raise UserError(
                f"the data have {classes} classes, but the network knows {self.num_classes}: set num_classes"
            )
        super().setup(stage)
