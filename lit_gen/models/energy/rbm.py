"""Restricted Boltzmann machines."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from lit_gen.distributed import average_gradients, rank, sum_over_ranks, world_size
from lit_gen.distributions.units import Units
from lit_gen.errors import UserError
from lit_gen.models.dry_run import data_shape, try_network, undisturbed
from lit_gen.models.manual import ManualOptimizationModel
from lit_gen.protocols import Batch


class Prediction(NamedTuple):
    """What ``predict`` gives for a batch.

    Attributes:
        code: (B, H), means of the hidden units.
        free_energy: (B,) nats.
    """

    code: Tensor
    free_energy: Tensor


class RBM(ManualOptimizationModel):
    """Restricted Boltzmann machine, p(v, h) proportional to exp(-E(v, h)), trained by contrastive divergence.

    Hinton, Training Products of Experts by Minimizing Contrastive Divergence (2002), Eq. 5,
    https://doi.org/10.1162/089976602760128018; persistent chains: Tieleman (2008),
    https://doi.org/10.1145/1390156.1390290; practice: Hinton, A Practical Guide to Training Restricted Boltzmann
    Machines (2010), https://www.cs.toronto.edu/~hinton/absps/guideTR.pdf

    E(v, h) = -log base(v) - log base(h) - b's(v) - c's(h) - s(h)'W s(v), the bases and statistics s those of the
    units; of Bernoulli units -b'v - c'h - h'Wv. The free energy is F(v) = -log of the sum (integral) of exp(-E) over h.
    The gradient of the mean F of the data minus the mean F of the model's states is that of -log p(v) where those
    states are the model's own; they are taken from chains of ``num_gibbs_steps`` steps that begin at the data, or go
    on from step to step.

    Persistent chains belong to all processes together: each moves its share, all hold and save all of them. So a run
    may be resumed, and evaluated, in any number of processes that divides ``num_chains``.

    Terms: in training ``loss``, that difference, which isn't a measure of success, and ``free_energy`` (data). In
    evaluation ``free_energy`` (nats), ``squared_error`` of the reconstruction decode(encode(x)), and, of Bernoulli
    visible units, ``pseudo_log_likelihood`` (nats).

    Before the first step a visible bias that is zero is set by the first batch's mean (guide, Section 8.1).

    Args:
        visible: the visible units, in the shape of the data, or of the codes of ``below``.
        hidden: the hidden units.
        num_gibbs_steps: k; each step draws all hidden and then all visible units.
        num_chains: number of persistent chains, over all processes together; None for chains that begin at the data.
        num_sample_steps: Gibbs steps before a sample is taken.
        momentum: where given, the optimizer's momentum as a function of the global step, as ``MomentumChange``.
        optimizer: makes the optimizer; its weight decay applies to the weights alone, not to biases.
        scheduler: makes the learning-rate schedule; it counts batches.
        below: a trained encoder with its decoder, frozen: the machine is one of its codes, and ``encode`` and
            ``decode`` are the composition.

    Raises:
        UserError: a number out of range; in ``setup``, units that don't fit the data; in training, data that the
            visible units can't be in.
    """

    def __init__(
        self,
        visible: Units,
        hidden: Units,
        num_gibbs_steps: int = 1,
        num_chains: int | None = None,
        num_sample_steps: int = 200,
        momentum: Callable[[int], float] | None = None,
        optimizer: OptimizerCallable = SGD,
        scheduler: LRSchedulerCallable | None = None,
        below: nn.Module | None = None,
    ) -> None:
        super().__init__()
        for name, value in (
            ("num_gibbs_steps", num_gibbs_steps),
            ("num_chains", num_chains),
            ("num_sample_steps", num_sample_steps),
        ):
            if value is not None and value < 1:
                raise UserError(f"an RBM's {name} must be at least 1, got {value}")
        self.visible = visible
        self.hidden = hidden
        self.weight = nn.Parameter(0.01 * torch.randn(hidden.num_units, visible.num_units))  # guide, Section 8
        self.num_gibbs_steps = num_gibbs_steps
        self.num_sample_steps = num_sample_steps
        chains = None if num_chains is None else torch.zeros(num_chains, visible.num_units)
        self.register_buffer("chains", chains)
        self.momentum = momentum
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.below = None if below is None else below.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "RBM":
        super().train(mode)
        if self.below is not None:
            self.below.eval()
        return self

    def hidden_input(self, v: Tensor) -> Tensor:
        """(B, D) visible states -> (B, H), c + W s(v)."""
        return F.linear(self.visible.statistic(v), self.weight, self.hidden.bias)

    def visible_input(self, h: Tensor) -> Tensor:
        """(B, H) hidden states -> (B, D), b + W' s(h)."""
        return torch.addmm(self.visible.bias, self.hidden.statistic(h), self.weight)

    def free_energy(self, v: Tensor) -> Tensor:
        """(B, D) or (B, *visible.shape) visible states -> (B,) nats: log p(v) = -F(v) - log Z."""
        v = v.flatten(1)
        return self._free_energy(v, self.hidden_input(v))

    def _free_energy(self, v: Tensor, hidden_input: Tensor) -> Tensor:
        own = self.visible.log_base(v) + self.visible.statistic(v) @ self.visible.bias
        return -own - self.hidden.log_normalizer(hidden_input)

    @torch.no_grad()
    def gibbs(self, v: Tensor, num_steps: int) -> Tensor:
        """Visible states (B, D) after ``num_steps`` steps, each of which draws h given v and then v given h."""
        for _ in range(num_steps):
            v = self.visible.sample(self.visible_input(self.hidden.sample(self.hidden_input(v))))
        return v

    def visible_state(self, x: Tensor) -> Tensor:
        """Examples (B, *event_shape) -> visible states (B, D): the examples, or the codes of ``below``."""
        if self.below is None:
            return x.flatten(1)
        with torch.no_grad():
            return self.below.encode(x).flatten(1)

    def play(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        v = self.visible_state(batch.x)
        # On an accelerator a look at values would hold up every step; the data don't change between epochs.
        if v.device.type == "cpu" or batch_number == 0:
            self.visible.check(v, self._what)
        if batch_number == 0:
            self._start(v)
        if self.momentum is not None:
            for group in self.trainer.optimizers[0].param_groups:
                group["momentum"] = self.momentum(batch_number)
        terms: dict[str, Tensor] = {}
        optimizer = self.trainer.optimizers[0]

        def closure() -> None:
            terms.update(self.set_gradients(v))
            average_gradients(self.parameters())

        self.trainer.strategy.optimizer_step(optimizer, closure, self)
        for scheduler in self._schedulers(optimizer):
            scheduler.step()
        return terms

    @property
    def _what(self) -> str:
        return "the data" if self.below is None else "the codes of 'below'"

    @torch.no_grad()
    def set_gradients(self, v: Tensor) -> dict[str, Tensor]:
        """Set each parameter's gradient to that of the mean F(v) less the mean F of the model's states; Eq. 5.

        By the formula, which takes a tenth less time than the graph of F. Moves the persistent chains.

        Args:
            v: (B, D) visible states.

        Returns:
            ``loss``, that difference, and ``free_energy`` of ``v``, scalars in nats.
        """
        # In the weights' own precision whatever the trainer's: a gradient is the small difference of two sums.
        with torch.autocast(v.device.type, enabled=False):
            v = v.to(self.weight.dtype)
            hidden_input = self.hidden_input(v)
            mean = self.hidden.mean(hidden_input)
            v_model = self._model_states(mean)
            input_model = self.hidden_input(v_model)
            s, s_model = self.visible.statistic(v), self.visible.statistic(v_model)
            m, m_model = self.hidden.statistic(mean), self.hidden.statistic(self.hidden.mean(input_model))
            gradient = torch.mm(m_model.T, s_model)
            self.weight.grad = gradient.addmm_(m.T, s, beta=1 / len(v_model), alpha=-1 / len(v))
            self.visible.bias.grad = s_model.mean(0) - s.mean(0)
            self.hidden.bias.grad = m_model.mean(0) - m.mean(0)
            self._set_gradients_of_scales(v, v_model)
            energy = self._free_energy(v, hidden_input).mean()
            return {"loss": energy - self._free_energy(v_model, input_model).mean(), "free_energy": energy}

    def _set_gradients_of_scales(self, v: Tensor, v_model: Tensor) -> None:
        scales = [p for layer in (self.visible, self.hidden) for p in layer.parameters() if p is not layer.bias]
        if scales:
            with torch.enable_grad():
                loss = self.free_energy(v).mean() - self.free_energy(v_model).mean()
            for scale, gradient in zip(scales, torch.autograd.grad(loss, scales), strict=True):
                scale.grad = gradient

    def _model_states(self, hidden_mean: Tensor) -> Tensor:
        """The negative phase: (B, D) ends of chains that began at the data, or this process's persistent ones."""
        if self.chains is None:
            v = self.visible.sample(self.visible_input(self.hidden.draw(hidden_mean)))
            return self.gibbs(v, self.num_gibbs_steps - 1)
        moved = self.gibbs(self.chains[rank() :: world_size()], self.num_gibbs_steps)
        self._share_chains(moved)
        return moved

    def _share_chains(self, own: Tensor) -> None:
        self.chains.zero_()
        self.chains[rank() :: world_size()] = own
        sum_over_ranks(self.chains)

    @torch.no_grad()
    def _start(self, v: Tensor) -> None:
        mean = sum_over_ranks(v.mean(0)) / world_size()
        if not self.visible.bias.any():  # else it was handed on by another model
            self.visible.bias.copy_(self.visible.bias_for_mean(mean, len(v) * world_size()))
        if self.chains is not None:
            alone = self.visible.bias.expand(len(self.chains) // world_size(), -1)
            self._share_chains(self.visible.sample(alone))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        v = self.visible_state(batch.x)
        self.visible.check(v, self._what)
        error = (batch.x - self.decode(self.encode(batch.x))).square().flatten(1).sum(1)
        terms = {"free_energy": self.free_energy(v), "squared_error": error}
        return terms | self.visible.evaluation_terms(v, batch.index, self.free_energy)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int) -> Prediction:
        return Prediction(self.encode(batch.x), self.free_energy(self.visible_state(batch.x)))

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, H), means of the hidden units."""
        return self.hidden.mean(self.hidden_input(self.visible_state(x)))

    def decode(self, z: Tensor) -> Tensor:
        """(B, H) hidden states -> (B, *event_shape), means of the visible units (through ``below``); of images
        confined to [0, 1]."""
        return self._example(self.visible.mean(self.visible_input(z)))

    def _example(self, v: Tensor) -> Tensor:
        v = v.view(-1, *self.visible.shape)
        x = v if self.below is None else self.below.decode(v)
        return x.clamp(0.0, 1.0) if x.dim() == 4 else x

    def sample(self, num_samples: int) -> Tensor:
        """(num_samples, *event_shape): the visible units' means at the end of chains of ``num_sample_steps`` steps.

        They begin at persistent chains where there are any, and else at units that are independent of each other.
        """
        if self.chains is None:
            v = self.visible.sample(self.visible.bias.expand(num_samples, -1))
        else:
            v = self.chains[torch.randint(len(self.chains), (num_samples,), device=self.chains.device)]
        h = self.hidden.sample(self.hidden_input(self.gibbs(v, self.num_sample_steps)))
        return self.decode(h)

    def filters(self) -> Tensor:
        """(H, *event_shape): how each hidden unit moves the visible units' inputs (through ``below``, the example)."""
        rows = self.hidden.statistic(self.weight.T).T  # (H, D)
        if self.below is None:
            return rows.view(-1, *self.visible.shape)
        bias = self.visible.bias
        decode = lambda a: self.below.decode(self.visible.mean(a).view(-1, *self.visible.shape))  # noqa: E731
        return decode(bias + rows) - decode(bias.unsqueeze(0))

    def hand_on(self) -> dict[str, Tensor]:
        """The machine as two layers of a network, in the layout of ``torch.nn.Linear``, beside its state dict.

        ``encoder.weight`` (H, D) and ``encoder.bias`` give the hidden units' inputs from visible states,
        ``decoder.weight`` (D, H) and ``decoder.bias`` the visible units' from hidden ones.
        Hinton & Salakhutdinov (2006), Fig. 1, https://doi.org/10.1126/science.1127647
        """
        network = {
            "encoder.weight": self.visible.statistic(self.weight),
            "encoder.bias": self.hidden.bias,
            "decoder.weight": self.hidden.statistic(self.weight.T),
            "decoder.bias": self.visible.bias,
        }
        return self.state_dict() | {name: value.detach().clone() for name, value in network.items()}

    def configure_optimizers(self):
        biases = [p for part in (self.visible, self.hidden) for p in part.parameters()]
        optimizer = self.optimizer([{"params": [self.weight]}, {"params": biases, "weight_decay": 0.0}])
        return [optimizer], [] if self.scheduler is None else [self.scheduler(optimizer)]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise UserError("an RBM sets its gradients itself, without a loss scaler: take precision: 32-true")
        if self.weight.dtype not in (torch.float32, torch.float64):
            raise UserError(f"an RBM's weights can't be {self.weight.dtype}: take precision: 32-true or bf16-mixed")

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.chains is not None and len(self.chains) % self.trainer.world_size:
            raise UserError(
                f"num_chains is their number over all processes, each of which takes an equal share: "
                f"{len(self.chains)} is no multiple of {self.trainer.world_size}"
            )
        if stage == "fit" and self.momentum is not None and "momentum" not in self._trial_optimizer().defaults:
            raise UserError(
                "momentum is a schedule of the optimizer's momentum: take torch.optim.SGD, or momentum: null"
            )
        shape = data_shape(self)
        if shape is not None:
            with undisturbed(self, self.device):
                self._try_parts(shape)

    def _trial_optimizer(self):
        return self.optimizer([nn.Parameter(torch.zeros(1))])

    def _try_parts(self, shape: tuple[int, ...]) -> None:
        x = torch.zeros(2, *shape, device=self.device)
        if self.below is None:
            wanted, source = shape, "the data's examples"
        else:
            code = try_network("'below'", self.below.encode, x, "the data's examples")
            wanted, source = tuple(code.shape[1:]), "the codes of 'below'"
        if wanted != self.visible.shape:
            raise UserError(f"the visible units have shape {self.visible.shape}, but {source} have shape {wanted}")
        if self.below is not None:
            decoded = try_network("the decoder of 'below'", self.below.decode, code, "its codes")
            if tuple(decoded.shape[1:]) != shape:
                raise UserError(
                    f"'below' makes examples of shape {tuple(decoded.shape[1:])}, but the data's are {shape}"
                )
