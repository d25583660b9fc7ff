from functools import partial

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from lit_gen.models.one_optimizer import one_optimizer


def test_a_schedule_counts_steps_and_a_plateau_watches_the_validation_loss():
    weight = torch.nn.Parameter(torch.zeros(1))
    sgd = partial(SGD, lr=0.1)
    assert isinstance(one_optimizer([weight], sgd, None), SGD)
    made = one_optimizer([weight], sgd, partial(LinearLR, total_iters=3))
    assert made["optimizer"].param_groups[0]["params"][0] is weight
    assert made["lr_scheduler"]["scheduler"].optimizer is made["optimizer"]
    assert made["lr_scheduler"]["interval"] == "step"
    watched = one_optimizer([weight], sgd, ReduceLROnPlateau)["lr_scheduler"]
    assert (watched["interval"], watched["monitor"]) == ("epoch", "val/loss")
