"""Started by test_figures_over_ranks: measures both figures as one of several processes and prints them."""

import json
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import nn
from torch.distributions import Normal

from lit_gen.callbacks.fid import FID
from lit_gen.callbacks.likelihood import Likelihood
from lit_gen.data.loader import EvaluationLoader, Examples
from lit_gen.distributed import leave_together
from lit_gen.metrics.features.lenet import LeNet

NUM_EXAMPLES = 197  # which neither two nor three divide


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, 64, generator=generator))

    def log_importance_weights(self, x, num_samples, label=None):
        q = Normal(x.flatten(1)[:, :2], 1.0)
        z = q.rsample((num_samples,))
        log_px_z = Normal(z @ self.weight, 1.0).log_prob(x.flatten(1)).sum(-1)
        return log_px_z + Normal(0.0, 1.0).log_prob(z).sum(-1) - q.log_prob(z).sum(-1)

    def sample(self, num_samples):
        return (torch.randn(num_samples, 2) @ self.weight).sigmoid().view(num_samples, 1, 8, 8)


def measure(rank: int, world_size: int) -> dict[str, float]:
    x = torch.rand(NUM_EXAMPLES, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    def loader(split=None):
        return EvaluationLoader(Examples(x), 8, rank, world_size)

    model = Model()
    data = SimpleNamespace(reference_loader=loader, fingerprint=lambda split: "noise", event_shape=(1, 8, 8))
    trainer = SimpleNamespace(datamodule=data, fast_dev_run=False)
    figures = {}
    for num_samples in (3, 20):  # in groups of examples, and one by one
        likelihood = Likelihood(num_samples, chunk_size=15)
        likelihood.on_test_epoch_start(trainer, model)
        for batch in loader():
            likelihood.on_test_batch_end(trainer, model, None, batch, 0)
        estimate = likelihood._metric.compute()
        assert estimate.count == NUM_EXAMPLES
        figures[f"nll_{num_samples}"] = float(estimate.mean)
        figures[f"nll_{num_samples}_se"] = float(estimate.standard_error)
        sampling = likelihood._sampling.compute()
        assert sampling.count == NUM_EXAMPLES
        figures[f"nll_{num_samples}_ess"] = float(sampling.effective_sample_size)
        figures[f"nll_{num_samples}_mc_se"] = float(sampling.standard_error)
        figures[f"dominated_{num_samples}"] = sampling.num_dominated
    name, figures["fid"] = FID(LeNet(), num_samples=50, batch_size=7)._measure(trainer, model, "val")
    assert name == "val/fid_lenet_50"
    _, again = FID(LeNet(), num_samples=50, batch_size=7)._measure(trainer, model, "val")
    assert again == figures["fid"]  # from the cache, if this process has it and the others too
    return figures


if __name__ == "__main__":
    rank, world_size, meeting_point = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=world_size)
    print(json.dumps(measure(rank, world_size)))
    leave_together()
