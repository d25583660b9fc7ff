"""The unit in which likelihoods of images of 256 levels are compared."""

import math


def bits_per_dim(nats: float, num_dims: int) -> float:
    """Negative log-likelihood of one example, in nats summed over its dimensions, as bits per dimension.

    Args:
        nats: -log p(x) of the whole example, x being discrete or dequantized to [0, 256]; a density over [0, 1] needs
            ``num_dims * log(256)`` added first.
        num_dims: number of dimensions of one example, channels included (3072 for CIFAR-10).

    Raises:
        ValueError: if ``num_dims`` isn't positive.
    """
    if num_dims < 1:
        raise ValueError(f"num_dims must be at least 1, got {num_dims}")
    return nats / (num_dims * math.log(2))
