"""Models that step several optimizers themselves, such as the players of an adversarial game."""

import warnings
from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lit_gen.distributed import average_gradients, world_size
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel
from lit_gen.models.gradients import clear_gradients, parameters_of
from lit_gen.tensor import mean_over_batch


class ManualOptimizationModel(GenerativeModel):
    """Base of models with several players, each a module with an optimizer of its own.

    A subclass writes ``play``, which is given one batch and calls ``step_player`` as often as its game asks, and
    ``configure_optimizers``. This class sees to it that:

    - one batch is one global step, however many optimizers step in it: ``max_steps`` and the intervals of checkpoints
      count batches;
    - over several processes each step's gradient is the mean of theirs, under plain ``ddp``: that of one process on the
      joint batch where a term is of single examples, or gathers the batch itself, as batch norms and minibatch features
      do. What takes examples together within a process sees others than one process would: packs (``Packed``),
      minibatch features of groups, codes that are exchanged (``FactorVAE``);
    - gradient clipping and accumulation, which Lightning refuses to do for manual optimization, work, also with a
      loss scaler: gradients are averaged over the ranks, then unscaled, then clipped, then stepped with;
    - learning-rate schedules count batches.

    Args:
        gradient_clip_norm: each player's gradient is scaled down to this Euclidean norm at every step; None for no
            clipping.
        num_micro_batches: slices of a batch that are pushed through the networks one after another, their gradients
            added up to the whole batch's, to save memory. What looks at the batch sees the slices: batch norms,
            minibatch features, terms of the batch as a whole, and the steps that an unrolled game looks ahead.

    Raises:
        UserError: a number out of range.
    """

    def __init__(self, gradient_clip_norm: float | None = None, num_micro_batches: int = 1) -> None:
        super().__init__()
        if gradient_clip_norm is not None and not gradient_clip_norm > 0:
            raise UserError(f"gradient_clip_norm must be positive or null, got {gradient_clip_norm}")
        if num_micro_batches < 1:
            raise UserError(f"num_micro_batches must be at least 1, got {num_micro_batches}")
        self.automatic_optimization = False
        self.gradient_clip_norm = gradient_clip_norm
        self.num_micro_batches = num_micro_batches

    def play(self, batch, batch_number: int) -> dict[str, Tensor]:
        """One batch of the game; ``batch_number`` counts from 0 over the whole run, across resumptions.

        Returns:
            Named scalar tensors, detached.
        """
        raise NotImplementedError

    def training_step(self, batch, batch_idx: int) -> dict[str, Tensor]:
        terms = self.play(batch, self.trainer.global_step)
        # Lightning's global step under manual optimization is this tracker, which its wrappers of optimizers advance
        # at every step of each. We step the optimizers themselves and advance it once a batch.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        return terms

    def step_player(
        self,
        player: nn.Module,
        optimizer_index: int,
        minimize: str,
        losses: Callable[..., Mapping[str, Tensor]],
        *tensors: Tensor,
        num_batches: int = 1,
        meets_other_leaves: bool = True,
    ) -> dict[str, Tensor]:
        """One optimizer step of one player.

        Args:
            player: whose parameters the optimizer holds.
            optimizer_index: its place in what ``configure_optimizers`` returned.
            minimize: name of the term to minimise the mean of.
            losses: a slice of each of ``tensors`` -> named terms, each (slice,), one value an example, or () their
                mean.
            tensors: each (B, ...): what ``losses`` needs of the batch, noise included, so that the slicing doesn't
                change what is drawn.
            num_batches: how many batches this step stands for: the player's schedule advances by as many.
            meets_other_leaves: whether the terms depend on leaves with gradients other than this optimizer's, which
                must not get any; False, where there are none, spares autograd the sorting.

        Returns:
            The mean over the batch of every term, detached scalars.
        """
        strategy = self.trainer.strategy
        optimizer = strategy.optimizers[optimizer_index]
        # No more is differentiated than what the optimizer steps: no examples that a penalty takes gradients in.
        only = {"inputs": parameters_of(optimizer)} if meets_other_leaves else {}
        means: dict[str, Tensor] = {}

        def backward() -> None:
            for share, part in self._micro_batches(tensors):
                terms = losses(*part)
                loss = mean_over_batch(terms[minimize])
                strategy.backward(loss if share == 1.0 else share * loss, None, **only)
                for name, value in terms.items():
                    mean = loss.detach() if name == minimize else mean_over_batch(value.detach())
                    means[name] = mean if share == 1.0 else means.get(name, 0.0) + share * mean

        def closure() -> None:
            clear_gradients(optimizer)
            means.clear()
            if not isinstance(strategy, DDPStrategy):
                backward()
                return
            # DDP's reducer waits for all parameters of the model, of which this step touches one player's: it is
            # held off, and one collective call does its work.
            with strategy.block_backward_sync():
                backward()
            average_gradients(player.parameters())

        strategy.optimizer_step(optimizer, closure, self)
        for scheduler in self._schedulers(optimizer):
            for _ in range(num_batches):
                scheduler.step()
        return means

    def _micro_batches(self, tensors: tuple[Tensor, ...]) -> list[tuple[float, tuple[Tensor, ...]]]:
        """Slices of the tensors, each with its share of the batch in (0, 1]."""
        if self.num_micro_batches == 1:
            return [(1.0, tensors)]
        size = len(tensors[0])
        count = min(self.num_micro_batches, size)
        parts = zip(*(tensor.tensor_split(count) for tensor in tensors), strict=True)
        return [(len(part[0]) / size, part) for part in parts]

    def _schedulers(self, optimizer: Optimizer) -> list[LRScheduler]:
        configs = self.trainer.lr_scheduler_configs
        return [config.scheduler for config in configs if config.scheduler.optimizer is optimizer]

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.trainer.world_size > 1 and not isinstance(self.trainer.strategy, DDPStrategy):
            raise UserError(
                f"{type(self).__name__} trains in several processes with --trainer.strategy=ddp, not with "
                f"{type(self.trainer.strategy).__name__}"
            )

    def on_fit_start(self) -> None:
        # A checkpoint holds the weights after the batch that it is named after, which Lightning finds worth a warning.
        warnings.filterwarnings("ignore", message="Using ModelCheckpoint with manual optimization")
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                raise UserError(
                    f"{type(self).__name__} has no one loss for ReduceLROnPlateau to watch: use a schedule of the "
                    f"number of batches"
                )
        if any(isinstance(optimizer, LBFGS) for optimizer in self.trainer.optimizers):
            raise UserError(
                f"{type(self).__name__}'s players take one look at a batch for each step, but LBFGS asks for several: "
                "take another optimizer, as torch.optim.Adam"
            )
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        fused = any(getattr(optimizer, "_step_supports_amp_scaling", False) for optimizer in self.trainer.optimizers)
        if self.gradient_clip_norm is not None and scaler is not None and fused:
            raise UserError("gradient_clip_norm under 16-mixed needs optimizers without fused: true")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # Called after a loss scaler has unscaled the gradients and before the step.
        if self.gradient_clip_norm is not None:
            clip_grad_norm_(parameters_of(optimizer), self.gradient_clip_norm)

    @torch.no_grad()
    def on_validation_start(self) -> None:
        # Holding the reducer off also holds off DDP's broadcast of buffers. Our batch norms keep them equal, but a
        # network may hold others, and a model must be the same on all ranks that share an evaluation.
        if world_size() > 1:
            for buffer in self.buffers():
                dist.broadcast(buffer, src=0)
