"""What the rooms may know of each other: a model by what it can do, a batch by its fields.

Callbacks and metrics ask ``isinstance(model, Samples)``; no model names itself to them. Every random draw below comes
from torch's global generator, which the caller seeds (see ``randomness``), so any caller can reproduce it.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.distributions import Distribution


class Batch(NamedTuple):
    """What every data module hands out.

    Attributes:
        x: the examples, (B, *event_shape), float32; pixels in [0, 1], (B, C, H, W).
        label: class indices (B,), int64, or None where the data have none.
        index: each example's number in its split, (B,), int64: whatever must not depend on how a set is cut into
            batches or shared among processes is tied to it.
    """

    x: Tensor
    label: Tensor | None
    index: Tensor


@runtime_checkable
class Samples(Protocol):
    """A model one can draw from."""

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape) draws from the model, pixels in [0, 1]; for pictures a likelihood model gives
        the mean of p(x|z) (say so in its docstring)."""


@runtime_checkable
class ImportanceWeights(Protocol):
    """A model whose likelihood is estimated by importance sampling: p(x) = E_{z ~ q(z|x)} [p(x, z) / q(z|x)]."""

    def log_importance_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B) values of log p(x, z) - log q(z|x) in nats, independent draws of z for each.

        ``label``, (B,) class indices, is what a conditional model conditions on; the others don't look at it.
        """


@runtime_checkable
class PriorWeights(Protocol):
    """A model whose likelihood is estimated from its prior alone: p(x) = E_{z ~ p(z)} [p(x|z)]."""

    def log_prior_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B) values of log p(x|z) in nats, independent draws of z from the prior for each.

        ``label`` as in ``ImportanceWeights``.
        """


@runtime_checkable
class WeightsUnder(Protocol):
    """A model with a prior, a posterior and a decoder of images, to which a density of pixels can be lent."""

    def log_weights_under(
        self,
        likelihood: Callable[[Tensor], Distribution],
        x: Tensor,
        num_samples: int,
        label: Tensor | None = None,
    ) -> Tensor:
        """(num_samples, B) values of log p(x|z) + log p(z) - log q(z|x) in nats, independent draws of z for each;
        ``likelihood`` makes p(x|z), batch (N,), of images (N, *event_shape)."""


@runtime_checkable
class DrawsWithDensity(Protocol):
    """A distribution that gives draws together with their log-densities."""

    def rsample_with_log_prob(self, sample_shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """(*sample_shape, *batch_shape, *event_shape) draws and (*sample_shape, *batch_shape) log-densities in nats."""


@runtime_checkable
class FollowsSteps(Protocol):
    """A part of a model that changes with the training step: a temperature that is annealed."""

    def at_step(self, step: int) -> None:
        """Called before each training step with the trainer's global step, which a resumed run goes on from."""


@runtime_checkable
class ExactLikelihood(Protocol):
    """A model that knows its density."""

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) values of log p(x) in nats. That of a ``Conditional`` model takes the label, (B,), beside x."""


@runtime_checkable
class LikelihoodBound(Protocol):
    """A model that knows a lower bound on its density which no number of draws would raise."""

    def log_prob_bound(self, x: Tensor) -> Tensor:
        """(B,) lower bounds on log p(x) in nats."""


@runtime_checkable
class Codes(Protocol):
    """A model with a code: encoder and decoder."""

    def encode(self, x: Tensor) -> Tensor:
        """(B, Z) codes; the posterior's mean where it is a distribution."""

    def decode(self, z: Tensor) -> Tensor:
        """(B, *event_shape) reconstructions, pixels in [0, 1]; the mean where it is a distribution."""


@runtime_checkable
class PriorQuantiles(Protocol):
    """A model with a prior of independent coordinates whose quantile function is known."""

    def prior_quantile(self, probability: Tensor) -> Tensor:
        """Coordinates of z at cumulative probabilities in (0, 1), elementwise."""


@runtime_checkable
class StartsAtMean(Protocol):
    """A model that can begin where it gives the data's mean."""

    def start_at_mean(self, mean: Tensor) -> None:
        """Set what gives every example the mean ``mean``, (*event_shape), whatever the code."""


@runtime_checkable
class HandsOn(Protocol):
    """A model that hands on something else than its state dict to a later stage of a staged run."""

    def hand_on(self) -> dict[str, Tensor]:
        """Tensors by name, laid out as the module that takes them up lays out its own: ``encoder.weight`` (H, D) for
        a ``torch.nn.Linear``. Names and shapes are known before training."""


@runtime_checkable
class Filters(Protocol):
    """A model that works with directions in data space."""

    def filters(self) -> Tensor:
        """(N, *event_shape), signed: PCA's components, or the weights that lead from the data to each unit of an RBM's
        or an autoencoder's first layer."""


@runtime_checkable
class Conditional(Protocol):
    """A model whose likelihoods are of the examples given something that is known of them."""

    conditions_on: str
    """What is given, in words."""


@runtime_checkable
class Completes(Protocol):
    """A model that tells the rest of an example from a part."""

    def visible(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, *event_shape), pixels in [0, 1] -> the same with 0.5 in the place of what isn't given."""

    def complete(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(num_samples, B, *event_shape): draws of the rest, each with what is given."""


@runtime_checkable
class SamplesOfClasses(Protocol):
    """A model one can draw from class by class."""

    num_classes: int

    def sample_classes(self, label: Tensor) -> Tensor:
        """(B,) class indices -> (B, *event_shape) draws, pixels in [0, 1]."""


@runtime_checkable
class ReadsFeatures(Protocol):
    """A network that reads its output off features of its input: ``network(x) = from_features(features(x))``."""

    def features(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, F)."""

    def from_features(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, *out_shape)."""


@runtime_checkable
class Reconstructs(Protocol):
    """A discriminator that is an autoencoder: its scores are energies, the lower the more real."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, *event_shape)."""


@runtime_checkable
class TakesReference(Protocol):
    """A network that sees every input beside one fixed batch of reference inputs."""

    num_reference: int
    """How many examples the reference batch has."""

    def set_reference(self, x: Tensor) -> None:
        """Take (num_reference, *in_shape) as the reference from now on: a buffer, so that checkpoints hold it."""


@runtime_checkable
class FromLatents(Protocol):
    """A model whose samples are a function of latents that one may choose."""

    def draw_latents(self, num: int) -> Tensor:
        """(num, Z) draws from the prior."""

    def from_latents(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *event_shape), pixels in [0, 1]."""


@runtime_checkable
class Discriminates(Protocol):
    """A model with a discriminator one can ask."""

    def scores(self, x: Tensor) -> Tensor:
        """(B, *event_shape), pixels in [0, 1] -> the discriminator's raw outputs in single precision; (B,), or fewer
        where it judges several examples at once."""

    def probability_real(self, scores: Tensor) -> Tensor | None:
        """Raw scores -> the probability that each is of a real example, in [0, 1]; None where the game's scores are
        no logits."""


class Judged(NamedTuple):
    """Examples, and what the discriminator made of them in one pass.

    Attributes:
        x: (B, *event_shape), as the discriminator was given them.
        scores: (B,) raw scores in single precision; (B / m,) where it judges m examples at once.
        features: (B, F) what the scores were read off, or None where nobody has asked for them.
        gradients: what ``input_gradients`` is of them, or None where it has not been taken yet.
    """

    x: Tensor
    scores: Tensor
    features: Tensor | None = None
    gradients: Tensor | None = None


@runtime_checkable
class JudgesWithFeatures(Protocol):
    """A discriminator that gives scores and features of one pass, though the ones aren't read off the others."""

    def judge(self, x: Tensor) -> Judged:
        """(B, *event_shape) -> what it makes of them, with features."""


class Game(NamedTuple):
    """A step of one player, as the terms of its loss see it.

    Attributes:
        generator: the network; its parameters carry gradients in its own steps alone.
        discriminator: the network; likewise.
        real: the batch of real examples; None in a generator's step in which nobody has asked for it.
        fake: the generator's examples; in a discriminator's step they carry no gradient to the generator.
        noise: what the term's own ``noise`` drew for this batch.
    """

    generator: nn.Module
    discriminator: nn.Module
    real: Judged | None
    fake: Judged
    noise: tuple[Tensor, ...] = ()


Stepper = Callable[[Tensor | None], Tensor]
"""Goes through the cells of one order, which it keeps count of: called with the values (N, G) of the cell before (None
at the first), it gives the parameters (N, P) of the next. It keeps what later cells need and no more."""


@runtime_checkable
class AutoregressiveNetwork(Protocol):
    """A network that tells the parameters of each cell of an example from the cells before it in an order.

    A cell is what is drawn at once: one value, or all channels of one pixel. With S cells, the G values of cell s are
    column s of ``x.view(B, G, S)``, and its parameters column s of ``params.view(B, P, S)``.
    """

    event_shape: tuple[int, ...]
    """Shape of one example."""

    cell_shape: tuple[int, ...]
    """How the S cells lie: ``event_shape``, or (1, H, W) where pixels are cells."""

    params_per_output: int
    """P."""

    num_classes: int | None
    """Number of classes that it is conditioned on, None for none."""

    num_orders: int
    """Number of orders that it knows."""

    def order(self, number: int = 0) -> Tensor:
        """(S,) the cells in the order in which they are told, a permutation."""

    def __call__(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, *event_shape), class indices (B,) -> (B, P, *cell_shape) under the order of that number."""


@runtime_checkable
class HasStepper(Protocol):
    """A network that tells one cell after the other for less than the work of its whole self each time."""

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """A stepper for ``num`` examples, of the classes ``label``, (num,), under the order of that number.

        The network is in evaluation mode and no gradient is wanted.
        """


@runtime_checkable
class DrawsCellByCell(Protocol):
    """A model that draws cell by cell, from what the cells before have left."""

    event_shape: tuple[int, ...]
    """Shape of one example."""

    naive_sampling: bool
    """Whether to draw with the whole network for every cell instead, as a reference."""

    def complete_rows(self, x: Tensor, num_rows: int, num_samples: int, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W), of which the first rows are given -> (num_samples, B, C, H, W) draws of the rest, each with
        what is given."""
