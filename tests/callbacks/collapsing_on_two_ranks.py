"""Two ranks train a game whose generator draws one point; each tells at which step it ended, and what it was told."""

import json
import sys
import warnings
from functools import partial

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from lit_gen.callbacks.collapse_alarm import CollapseAlarm
from lit_gen.callbacks.discriminator_confidence import DiscriminatorConfidence
from lit_gen.callbacks.discriminator_surface import DiscriminatorSurface
from lit_gen.callbacks.gradient_norms import GradientNorms
from lit_gen.callbacks.sample_strip import SampleStrip
from lit_gen.data.toy import Ring
from lit_gen.distributed import leave_together
from lit_gen.distributions.priors import StandardNormal
from lit_gen.models.gans.gan import GAN
from lit_gen.networks.mlp import MLP
from lit_gen.objectives import NonSaturating

if __name__ == "__main__":
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    generator = nn.Linear(2, 2)
    nn.init.normal_(generator.weight, std=1e-7)
    sgd = partial(torch.optim.SGD, lr=1e-9)
    discriminator = MLP(in_shape=(2,), out_shape=[], hidden_dims=[8])
    model = GAN(generator, discriminator, StandardNormal(2), NonSaturating(), None, sgd, sgd)
    alarm, norms = CollapseAlarm(every_n_steps=2, start_step=0, num_samples=200, stop=True), GradientNorms()
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=3,
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=sys.argv[1],
        callbacks=[norms, alarm, DiscriminatorConfidence(), DiscriminatorSurface(), SampleStrip([0, 2])],
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, Ring(num_train=200, num_validation=201, num_test=5, batch_size=20))
    ended = {
        "step": trainer.global_step,
        "raised_at": alarm.raised_at,
        "norms": {player: float(norm) for player, norm in norms.last.items()},
        "told": [str(w.message) for w in caught if "collapse at step" in str(w.message)],
        "figures": {name: float(x) for name, x in trainer.callback_metrics.items() if "collapse" in name},
    }
    with open(f"{sys.argv[1]}/rank_{trainer.global_rank}.json", "w") as file:
        json.dump(ended, file)
    leave_together()
