"""Deterministic autoencoders: deep, denoising, contractive, sparse, and on the codes of others."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam

from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.one_optimizer import one_optimizer
from lit_gen.protocols import Batch
from lit_gen.tensor import sum_except_batch


class Prediction(NamedTuple):
    """What ``predict`` gives for a batch.

    Attributes:
        code: (B, Z).
        reconstruction: (B, *event_shape), in data space.
    """

    code: Tensor
    reconstruction: Tensor


class Autoencoder(GenerativeModel):
    """Autoencoder: a code from which the input can be told again.

    Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks (2006),
    https://doi.org/10.1126/science.1127647. With a ``corruption`` it is a denoising autoencoder, trained to tell the
    clean input from the corrupted one: Vincent et al., Stacked Denoising Autoencoders (2010), Section 3,
    https://jmlr.org/papers/v11/vincent10a.html. With ``Contractive`` among the regularizers it is a contractive one,
    with ``KLSparsity`` a sparse one, with ``TransposedMLP`` as the decoder its weights are tied.

    With ``below`` it is one stage of a layer-by-layer training (Bengio et al., Greedy Layer-Wise Training of Deep
    Networks, 2007, https://papers.nips.cc/paper/3048): it trains on the codes of ``below``, which is frozen, and
    encodes and decodes through both.

    Terms, per example, summed over the event: ``reconstruction``, the objective's value where it trains: on the data,
    or on the codes of ``below``; ``squared_error`` (validation and test), |x - decode(encode(x))|^2 in data space and
    before pictures are confined to [0, 1], by which PCA and all autoencoders can be compared; each regularizer's
    weighted value by its name (training); ``loss``, what is minimised: in training the sum of reconstruction and
    regularizers, in validation and test the reconstruction alone, of the clean input, so that checkpoints are never
    chosen by a penalty's weight.

    Args:
        encoder: (B, *event_shape) -> (B, Z); with ``below``, of its codes.
        decoder: (B, Z) -> (B, *event_shape), what the objective makes a reconstruction of.
        objective: ``SquaredError``, ``CrossEntropy`` or ``SoftmaxCrossEntropy``.
        corruption: what the encoder's input goes through in training.
        regularizers: each called as ``regularizer(encoder, x, code)``, x being the encoder's input: (B,), or a scalar
            where it belongs to the whole batch; has a ``name``.
        below: an encoder and decoder already trained; its decoder gives values in data space.
        optimizer: makes the optimizer from the parameters.
        scheduler: makes the learning-rate schedule from the optimizer; it counts optimizer steps
            (``ReduceLROnPlateau`` watches val/loss).

    Raises:
        UserError: two regularizers of one name; in ``setup``, parts that don't fit each other or the data.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        objective: nn.Module,
        corruption: nn.Module | None = None,
        regularizers: Sequence[nn.Module] = (),
        below: nn.Module | None = None,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        names = [regularizer.name for regularizer in regularizers]
        if len(set(names)) < len(names):
            raise UserError(f"each regularizer needs a name of its own, but they are called {', '.join(names)}")
        self.encoder = encoder
        self.decoder = decoder
        self.objective = objective
        self.corruption = corruption
        self.regularizers = nn.ModuleList(regularizers)
        self.below = None if below is None else below.requires_grad_(False).eval()
        if hasattr(decoder, "tie_to"):
            decoder.tie_to(encoder)
        self.optimizer = optimizer
        self.scheduler = scheduler

    def train(self, mode: bool = True) -> "Autoencoder":
        super().train(mode)
        if self.below is not None:
            self.below.eval()
        return self

    def _input(self, x: Tensor) -> Tensor:
        """What the encoder and decoder are trained on: the data, or their codes by ``below``."""
        if self.below is None:
            return x
        with torch.no_grad():
            return self.below.encode(x)

    def _reconstruct(self, output: Tensor) -> Tensor:
        """The decoder's output -> (B, *event_shape) in data space, not confined to any range."""
        mean = self.objective.mean(output)
        return mean if self.below is None else self.below.decode(mean)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        target = self._input(batch.x)
        x = target if self.corruption is None else self.corruption(target)
        code = self.encoder(x)
        loss = self.objective(self.decoder(code), target).mean()
        terms = {"reconstruction": loss.detach()}
        for regularizer in self.regularizers:
            penalty = regularizer(self.encoder, x, code).mean()
            terms[regularizer.name] = penalty.detach()
            loss = loss + penalty
        return {"loss": loss, **terms}

    def _evaluate(self, batch: Batch) -> dict[str, Tensor]:
        target = self._input(batch.x)
        output = self.decoder(self.encoder(target))
        reconstruction = self.objective(output, target)
        squared_error = sum_except_batch((batch.x - self._reconstruct(output)).square())
        return {"loss": reconstruction, "reconstruction": reconstruction, "squared_error": squared_error}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        code = self.encode(batch.x)
        return Prediction(code, self.decode(code))

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, Z)."""
        return self.encoder(self._input(x))

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape) in data space; images, (C, H, W), are confined to [0, 1]."""
        x = self._reconstruct(self.decoder(z))
        return x.clamp(0.0, 1.0) if x.dim() == 4 else x

    def filters(self) -> Tensor:
        """(N, *event_shape): the weights of each unit of the first layer that sees the data.

        Raises:
            UserError: that layer isn't linear.
        """
        network = self.encoder if self.below is None else self.below.encoder
        leaves = (module for module in network.modules() if any(True for _ in module.parameters(recurse=False)))
        first = next(leaves, None)
        shape = getattr(network, "in_shape", None) or data_shape(self) or (-1,)
        if not isinstance(first, nn.Linear):
            raise UserError(
                f"there are no filters to show: the encoder's first layer is a {type(first).__name__}, not linear"
            )
        return first.weight.detach().view(len(first.weight), *shape)

    def hand_on(self) -> dict[str, Tensor]:
        """What a later stage starts from: the state dict, with tied weights written out as an untied decoder's."""
        state = self.state_dict()
        if not hasattr(self.decoder, "unrolled"):
            return state
        rest = {name: value for name, value in state.items() if not name.startswith("decoder.")}
        return rest | {f"decoder.{name}": value for name, value in self.decoder.unrolled().items()}

    def configure_optimizers(self):
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return one_optimizer(trainable, self.optimizer, self.scheduler)

    def setup(self, stage: str) -> None:
        if self.below is not None:  # which Lightning warns of
            warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(self._first_examples(shape))

    def _first_examples(self, shape: tuple[int, ...]) -> Tensor:
        """Two examples of the data, or zeros where the data module has none to show."""
        loader = getattr(self.trainer.datamodule, "reference_loader", None)
        if loader is None:
            return torch.zeros(2, *shape, device=self.device, dtype=self.dtype)
        return next(iter(loader("train"))).x[:2].to(self.device, self.dtype)

    def _try_parts(self, x: Tensor) -> None:
        target, source = x, "the data's examples"
        if self.below is not None:
            target, source = try_network("the encoder below", self.below.encoder, x, source), "the codes from below"
        code = try_network("the encoder", self.encoder, target, source)
        if code.dim() != 2:
            raise UserError(f"the encoder's codes must be vectors, but have shape {tuple(code.shape[1:])}")
        output = try_network("the decoder", self.decoder, code, "the encoder's codes")
        if output.shape != target.shape:
            raise UserError(
                f"the decoder gives outputs of shape {tuple(output.shape[1:])}, but {source} have shape "
                f"{tuple(target.shape[1:])}"
            )
        self.objective(output, target)
        for regularizer in self.regularizers:
            regularizer(self.encoder, target, code)
        if self.below is None:
            return
        decoded = try_network("the decoder below", self.below.decoder, self.objective.mean(output), source)
        if decoded.shape != x.shape:
            raise UserError(
                f"the decoder below gives examples of shape {tuple(decoded.shape[1:])}, but the data's have shape "
                f"{tuple(x.shape[1:])}"
            )
