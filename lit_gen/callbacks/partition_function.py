"""A Boltzmann machine's partition function, and the likelihood that it makes known."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lit_gen.callbacks.eval_mode import eval_mode
from lit_gen.callbacks.held_out_figures import HeldOutFigures, binarization_of, device_of_sums
from lit_gen.distributed import sum_over_ranks
from lit_gen.distributions.units import BernoulliUnits
from lit_gen.errors import UserError
from lit_gen.metrics.ais import (
    BoltzmannMachine,
    LogPartition,
    ais_log_weights,
    can_enumerate,
    exact_log_partition,
    log_partition,
)
from lit_gen.metrics.nll import NegativeLogLikelihood
from lit_gen.protocols import Batch
from lit_gen.randomness import derive_seed, seeded


class PartitionFunction(HeldOutFigures):
    """log Z by annealed importance sampling, and by enumeration where a layer is small, and the likelihoods by both.

    Salakhutdinov & Murray, On the Quantitative Analysis of Deep Belief Networks (2008), Section 4,
    https://doi.org/10.1145/1390156.1390266

    Logs ``log_z_ais`` with ``log_z_ais_se``, and ``nll_nats_ais_c<chains>_t<temperatures>``, the mean of F(x) + log Z;
    where one layer is binary and small also ``log_z_exact`` and ``nll_nats_exact``. ``<nll>_se`` joins the standard
    errors over the examples and of log Z; the protocol line tells them apart. The estimate of log Z is on average
    too low, and so is the NLL: see that the standard error is small and the figure keeps with more temperatures.

    The chains begin at units that are independent of each other, with the training split's mean. The figures don't
    depend on the batch size or the number of processes, each of which runs all chains.

    Measures at test, and at validation only when that is all that was asked for (``lit-gen validate``).

    Args:
        num_chains: chains, each of which gives one weight.
        num_temperatures: steps from independent units to the model, evenly spaced in inverse temperature.
        seed: names the noise.

    Raises:
        UserError: on counts out of range; at setup, if the model isn't a Boltzmann machine of the data themselves.
    """

    def __init__(self, num_chains: int = 100, num_temperatures: int = 1000, seed: int = 0) -> None:
        for name, value, least in (("num_chains", num_chains, 2), ("num_temperatures", num_temperatures, 1)):
            if value < least:
                raise UserError(f"PartitionFunction needs {name} of at least {least}, got {value}.")
        super().__init__()
        self.num_chains = num_chains
        self.num_temperatures = num_temperatures
        self.seed = seed
        self._metric: NegativeLogLikelihood | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        name = type(pl_module).__name__
        if not isinstance(pl_module, BoltzmannMachine):
            raise UserError(
                f"PartitionFunction can't score a {name}: it has no two layers and weights between them; take the "
                "callback out of the config."
            )
        if getattr(pl_module, "below", None) is not None:
            raise UserError(
                f"PartitionFunction can't score a {name} with a 'below': its likelihood would be of codes, not of "
                "the data; take the callback out of the config."
            )
        data = trainer.datamodule
        if isinstance(pl_module.visible, BernoulliUnits) and getattr(data, "binarization", None) == "none":
            x = next(iter(data.reference_loader("train"))).x
            if not ((x == 0) | (x == 1)).all():
                raise UserError(
                    "PartitionFunction can't score grey data by Bernoulli units, of which only 0 and 1 have a "
                    "probability: set data.binarization, or take the callback out of the config."
                )

    def _measures(self, trainer: Trainer, split: str) -> bool:
        return split == "test" or trainer.state.fn == TrainerFn.VALIDATING

    def _start(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        self._metric = NegativeLogLikelihood().to(device_of_sums(pl_module))

    def _add(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, split: str) -> None:
        with eval_mode(pl_module):
            self._metric.update(-pl_module.free_energy(pl_module.visible_state(batch.x)))

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        with eval_mode(pl_module), seeded(derive_seed(self.seed, "partition function"), pl_module.device):
            estimate = self.estimate(pl_module, trainer.datamodule)
            exact = exact_log_partition(pl_module) if can_enumerate(pl_module) else None
        figures = {
            f"{split}/log_z_ais": float(estimate.value),
            f"{split}/log_z_ais_se": float(estimate.standard_error),
        }
        if exact is not None:
            figures[f"{split}/log_z_exact"] = float(exact)
            sure = LogPartition(exact, torch.zeros_like(exact))
            figures |= self._nll(trainer, split, "nll_nats_exact", sure, "log Z by enumeration")
        how = f"AIS, {self.num_chains} chains, {self.num_temperatures} temperatures, noise seed {self.seed}"
        name = f"nll_nats_ais_c{self.num_chains}_t{self.num_temperatures}"
        figures |= self._nll(trainer, split, name, estimate, f"log Z by {how}")
        self.protocols[f"{split}/log_z_ais"] = how
        # Equal on all ranks already; sync_dist takes the mean of equal values and spares Lightning's warning.
        pl_module.log_dict(figures, sync_dist=True, batch_size=1)

    def _nll(self, trainer: Trainer, split: str, name: str, log_z: LogPartition, how: str) -> dict[str, float]:
        energy = self._metric.compute()
        error = float(energy.standard_error) ** 2 + float(log_z.standard_error) ** 2
        self.protocols[f"{split}/{name}"] = (
            f"{how}; {energy.count} {split} examples; binarization {binarization_of(trainer.datamodule)}; "
            f"standard error {float(energy.standard_error):.3g} over examples, "
            f"{float(log_z.standard_error):.2g} of log Z"
        )
        return {f"{split}/{name}": float(energy.mean + log_z.value), f"{split}/{name}_se": error**0.5}

    def estimate(self, machine: BoltzmannMachine, data) -> LogPartition:
        """log Z by annealed importance sampling from the mean of ``data``'s training split."""
        mean, count = _mean_state(machine, data)
        base_bias = machine.visible.bias_for_mean(mean, count)
        temperatures = torch.linspace(0.0, 1.0, self.num_temperatures + 1, dtype=torch.float64)
        return log_partition(ais_log_weights(machine, base_bias, temperatures, self.num_chains))


def _mean_state(machine: BoltzmannMachine, data) -> tuple[Tensor, int]:
    """Mean visible state (D,) of the training split over all ranks, and how many examples that were."""
    device = machine.weight.device
    # Grey levels are the means of what binarization makes of them.
    total = torch.zeros(machine.visible.num_units + 1, dtype=machine.weight.dtype, device=device)
    for batch in data.reference_loader("train"):
        total[:-1] += machine.visible_state(batch.x.to(device)).sum(0)
        total[-1] += len(batch.x)
    sum_over_ranks(total)
    return total[:-1] / total[-1], int(total[-1])
