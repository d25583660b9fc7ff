"""The negative log-likelihood of held-out data, by a protocol that the figure's name states."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lit_gen.callbacks.compiled_weights import compiled_weights
from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.held_out_figures import HeldOutFigures, binarization_of, device_of_sums
from lit_gen.callbacks.shortened_test import ShortenedTest, spread
from lit_gen.distributed import sum_over_ranks
from lit_gen.errors import UserError
from lit_gen.metrics.nll import (
    ImportanceEstimate,
    ImportanceSampling,
    NegativeLogLikelihood,
    SamplingQuality,
    StreamingLogMeanExp,
)
from lit_gen.protocols import Batch, Conditional, ExactLikelihood, ImportanceWeights, LikelihoodBound
from lit_gen.randomness import derive_seed, seed_torch, seeded

TRIAL_SAMPLES = 10
"""K of a ``fast_dev_run``, which only tries whether everything runs; the figure's name says it."""

GROUP_ROWS = 500
"""Rows that examples of few samples fill together: enough to keep a CPU busy. A group that is shared among processes
is computed by each of them."""


class Likelihood(HeldOutFigures):
    """Mean of -log p(x) in nats: exact where the model knows its density, else importance-weighted.

    The estimate is -log((1/K) sum_k p(x, z_k) / q(z_k|x)), z_k ~ q(z|x): on average an upper bound of -log p(x) that
    falls as K grows (Burda et al. 2016, Eq. 8 and Theorem 1, https://arxiv.org/abs/1509.00519). Its figure is named
    ``nll_nats_k<K>``, the exact one ``nll_nats_exact``; where the posterior leaves nothing to draw it is an upper bound
    and named ``nll_nats_bound``.

    ``<figure>_se`` is the standard error over the examples, as a sample of all there could be; as each example has
    noise of its own, it holds the Monte-Carlo error too. An estimate has two figures more: ``<figure>_mc_se``, the
    Monte-Carlo error alone, by which another noise seed would move the figure (for K > 1), and ``<figure>_ess``, the
    mean effective sample size. Where more than one example in twenty rests on a single draw, which has more than half
    of its weight, K is too small to trust the figure: the protocol line says so, and outside of training a warning. So
    they do of grey pixels under a Bernoulli likelihood, of which it is only a cross-entropy.

    The figure doesn't depend on the batch size, the order or the number of processes: the noise belongs to the
    example's number in its split. Examples are taken in groups of neighbouring numbers, as many as fill 500 rows, or
    ``chunk_size`` if that is less, with their K samples (one example where K is at least that), and a group always
    draws the noise of all its members, whichever of them are at hand. Memory doesn't grow with K.

    The test of a shortened training (``shortened``) takes some groups, evenly spaced, each example's value being that
    of the whole test; the number of examples ends the metric's name, ``nll_nats_k500_n100``.

    Args:
        num_samples: K on the test split.
        chunk_size: rows (samples of z) that the model is asked for at once. Another value draws other noise.
        val_num_samples: K at validation; None measures at validation only when that is all that was asked for
            (``lit-gen validate``), with ``num_samples``.
        seed: names the noise.
        compiled: compile the model's weights by ``torch.compile``: it takes seconds once, and on a CPU saves a seventh
            of the time, which is worth it for a K of thousands. The figure is the same up to rounding. A CPU then
            decodes a whole chunk at once, no longer a fifth of it. Without a C++ compiler (on a GPU, Triton) there is
            a warning, and they are computed uncompiled.

    Raises:
        UserError: on counts below 1; at setup, if the model has no likelihood.
    """

    shortened: ShortenedTest | None = None
    """What a test is cut to; None for the whole."""

    def __init__(
        self,
        num_samples: int = 500,
        chunk_size: int = 2500,
        val_num_samples: int | None = None,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        called = type(self).__name__
        for name, value in [("num_samples", num_samples), ("chunk_size", chunk_size)]:
            if value < 1:
                raise UserError(f"{called} needs {name} of at least 1, got {value}.")
        if val_num_samples is not None and val_num_samples < 1:
            raise UserError(f"{called} needs val_num_samples of at least 1, or null for none, got {val_num_samples}.")
        self.num_samples = num_samples
        self.chunk_size = chunk_size
        self.val_num_samples = val_num_samples
        self.seed = seed
        self.compiled = compiled
        self._compiled: ImportanceWeights | None = None
        self._metric: NegativeLogLikelihood | None = None
        self._sampling: ImportanceSampling | None = None
        self._num_grey = torch.zeros(())
        self._chosen: Callable[[int], bool] | None = None
        self._suffix = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, ExactLikelihood | LikelihoodBound | ImportanceWeights):
            raise UserError(
                f"Likelihood can't score a {type(pl_module).__name__}: it has neither log_prob(x) nor "
                "log_importance_weights(x, num_samples); take the callback out of the config."
            )

    def _without_draws(self, pl_module: LightningModule) -> str | None:
        """The kind of a figure that takes no draws of z, "exact" or "bound"; None where it takes some."""
        if isinstance(pl_module, ExactLikelihood):
            return "exact"
        return "bound" if isinstance(pl_module, LikelihoodBound) else None

    def _proposing(self, pl_module: LightningModule) -> ImportanceWeights:
        """What draws z and weighs it."""
        return pl_module

    def _weighing(self, trainer: Trainer, pl_module: LightningModule) -> ImportanceWeights:
        """What the figure is computed by: ``_proposing``, compiled if that was asked for."""
        if not self.compiled or getattr(trainer, "fast_dev_run", False):  # compiling takes longer than a trial
            return self._proposing(pl_module)
        if self._compiled is None:
            self._compiled = compiled_weights(self._proposing(pl_module), pl_module.device)
        return self._compiled

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._compiled = None  # it can't be pickled; compiled again, a model's code is found at hand

    def _figure(self, num_samples: int) -> str:
        return f"nll_nats_k{num_samples}"

    def _method(self, num_samples: int) -> str:
        return f"importance-weighted, K={num_samples}, noise seed {self.seed}"

    def _samples(self, trainer: Trainer, split: str) -> int | None:
        """K on this pass over the split, None where it isn't measured."""
        num_samples = self.val_num_samples
        if split == "test" or (num_samples is None and trainer.state.fn == TrainerFn.VALIDATING):
            num_samples = self.num_samples
        if num_samples is not None and getattr(trainer, "fast_dev_run", False):
            return min(num_samples, TRIAL_SAMPLES)
        return num_samples

    def _measures(self, trainer: Trainer, split: str) -> bool:
        return self._samples(trainer, split) is not None

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        device = device_of_sums(pl_module)
        self._metric = NegativeLogLikelihood().to(device)
        self._sampling = ImportanceSampling(self._samples(trainer, split)).to(device)
        self._num_grey = torch.zeros((), device=device)
        self._choose(trainer, pl_module, split)

    def _choose(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        """Which examples are scored: all, but for a shortened test by draws."""
        self._chosen, self._suffix = None, ""
        if self.shortened is None or split != "test" or self._without_draws(pl_module) is not None:
            return
        num_samples, whole = self._sampling.num_samples, trainer.datamodule.num_examples(split)
        count = self.shortened.count(whole, cost=num_samples)
        if count < whole:
            self._chosen, count = spread(whole, group_size_of(num_samples, self.chunk_size), count)
            self._suffix = f"_n{count}"
            self.shortened.note(self._figure(num_samples), count, whole, "test examples")

    def _kept(self, batch: Batch) -> Batch:
        """The examples of a batch that are scored."""
        if self._chosen is None:
            return batch
        rows = torch.tensor([self._chosen(number) for number in batch.index.tolist()], device=batch.x.device)
        return Batch(*(None if part is None else part[rows] for part in batch))

    def _add(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, split: str) -> None:
        batch = self._kept(batch)
        if not len(batch.x):
            return
        if getattr(getattr(pl_module, "likelihood", None), "num_levels", None) == 2:  # Bernoulli
            self._num_grey += ((batch.x != 0) & (batch.x != 1)).flatten(1).any(1).sum().to(self._num_grey.device)
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "likelihood"), batch.x.device):
            kind = self._without_draws(pl_module)
            if kind is not None:
                log_prob = pl_module.log_prob if kind == "exact" else pl_module.log_prob_bound
                given = (batch.label,) if isinstance(pl_module, Conditional) else ()
                self._metric.update(log_prob(batch.x, *given))
                return
            model = self._weighing(trainer, pl_module)
            index, num_samples = batch.index.tolist(), self._sampling.num_samples
            estimate = estimate_log_px(model, batch.x, index, num_samples, self.chunk_size, self.seed, batch.label)
            self._metric.update(estimate.log_px)
            self._sampling.update(estimate)

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        estimate, num_samples = self._metric.compute(), self._sampling.num_samples
        kind = self._without_draws(pl_module)
        name = f"{split}/{self._figure(num_samples) + self._suffix if kind is None else f'nll_nats_{kind}'}"
        # Tensors: Lightning would make single precision of numbers, seven digits.
        figures = {name: estimate.mean, f"{name}_se": estimate.standard_error}
        described = {"exact": "exact", "bound": "an upper bound without draws", None: self._method(num_samples)}
        method = described[kind]
        if isinstance(pl_module, Conditional):
            method = f"conditional, given {pl_module.conditions_on}; {method}"
        binarization = binarization_of(trainer.datamodule)
        some = f" of {trainer.datamodule.num_examples(split)}" if self._suffix else ""
        examples = f"{estimate.count}{some} {split} examples{', evenly spaced' if some else ''}"
        self.protocols[name] = f"{method}; {examples}; binarization {binarization}"
        num_grey = int(sum_over_ranks(self._num_grey))
        if num_grey:
            self._doubt(
                trainer,
                name,
                f"not a likelihood: {num_grey} of the examples have grey levels, whose cross-entropy under Bernoulli "
                "variables this is; set a binarization",
            )
        if kind is None:
            figures |= self._log_sampling(trainer, name, self._sampling.compute())
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log_dict(figures, sync_dist=True, batch_size=1)

    def _log_sampling(self, trainer: Trainer, name: str, quality: SamplingQuality) -> dict[str, Tensor]:
        """The figures of an estimate's own quality; what they mean goes into the protocols."""
        figures = {f"{name}_ess": quality.effective_sample_size}
        self.protocols[f"{name}_ess"] = "mean effective sample size of an example's weights"
        if self._sampling.num_samples > 1:
            figures[f"{name}_mc_se"] = quality.standard_error
            self.protocols[f"{name}_mc_se"] = "Monte-Carlo standard error of the mean, by the delta method"
        if quality.too_few_samples:
            self._doubt(
                trainer,
                name,
                f"K is too small to trust it: of {quality.num_dominated} of the {quality.count} examples one draw has "
                "more than half of the weight",
            )
        return figures

    def _doubt(self, trainer: Trainer, name: str, doubt: str) -> None:
        """Say in a figure's protocol, and outside of training in a warning, what is to be said against it."""
        self.protocols[name] += f"; {doubt}"
        if trainer.is_global_zero and trainer.state.fn != TrainerFn.FITTING:
            warnings.warn(f"{name}: {doubt}", stacklevel=2)


def group_size_of(num_samples: int, chunk_size: int) -> int:
    """How many neighbouring examples share their noise."""
    return max(1, min(chunk_size, GROUP_ROWS) // num_samples)


def estimate_log_px(
    model: ImportanceWeights,
    x: Tensor,
    index: Sequence[int],
    num_samples: int,
    chunk_size: int,
    seed: int,
    label: Tensor | None = None,
) -> ImportanceEstimate:
    """Importance-weighted estimates of log p(x) whose noise is tied to the examples' numbers.

    Reseeds torch's global generators: call it within ``randomness.seeded``.

    Args:
        x: (B, *event_shape).
        index: the B examples' numbers in their split.
        num_samples: K.
        chunk_size: rows that the model sees at once.
        label: (B,) class indices for a conditional model.

    Returns:
        Each field (B,), float64.
    """
    group_size = group_size_of(num_samples, chunk_size)
    positions: dict[int, list[int]] = defaultdict(list)
    for position, number in enumerate(index):
        positions[number // group_size].append(position)
    parts, order = [], []
    for group, members in positions.items():
        slots = [index[position] % group_size for position in members]
        # Members that aren't at hand are stood in for, so that the others meet the same noise as ever.
        rows = [members[0]] * group_size
        for position, slot in zip(members, slots, strict=True):
            rows[slot] = position
        block, labels = x[rows], None if label is None else label[rows]
        estimate = StreamingLogMeanExp()
        for chunk, start in enumerate(range(0, num_samples, chunk_size)):
            seed_torch(derive_seed(seed, "likelihood", group, chunk), x.device)
            estimate.update(model.log_importance_weights(block, min(chunk_size, num_samples - start), labels))
        parts.append([values[slots] for values in estimate.compute()])
        order += members
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    places = torch.tensor(order, device=columns[0].device).argsort()
    return ImportanceEstimate(*(column[places] for column in columns))
