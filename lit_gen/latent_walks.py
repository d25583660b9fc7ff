"""Ways from one latent to another, and how long they are in example space."""

import torch
from torch import Tensor


def lerp(first: Tensor, last: Tensor, weights: Tensor) -> Tensor:
    """Points on straight lines: (1 - t) a + t b for every t, exact at t = 0 and t = 1.

    Args:
        first: a, (N, Z).
        last: b, (N, Z).
        weights: t, (T,).

    Returns:
        (N, T, Z).
    """
    return torch.lerp(first[:, None], last[:, None], weights.to(first)[:, None])


def slerp(first: Tensor, last: Tensor, weights: Tensor) -> Tensor:
    """Points on arcs about the origin: directions on the great circle at an even pace, exact at t = 0 and t = 1.

    Shoemake, Animating Rotation with Quaternion Curves (1985), Section 3.3, of the directions; lengths go evenly from
    the one to the other. Latents of a normal prior in many dimensions lie near a sphere, and so does this way between
    them, where the straight one passes within it: White, Sampling Generative Networks (2016), Section 2.1,
    https://arxiv.org/abs/1609.04468. White takes Shoemake's formula of the vectors themselves; of two of one length
    that is the same, of others it overshoots, without bound where they are nearly opposite.

    Of opposite vectors one of the half circles is taken. Without an arc, of a vector of zeros or in one dimension, the
    way is the straight one.

    Args:
        first: a, (N, Z).
        last: b, (N, Z).
        weights: t, (T,).

    Returns:
        (N, T, Z).
    """
    t = weights.to(first)[:, None]
    line = lerp(first, last, weights)
    lengths = first.norm(dim=1), last.norm(dim=1)  # (N,)
    if first.shape[1] == 1:
        return line
    tiny = torch.finfo(first.dtype).tiny
    a, b = (x / length.clamp_min(tiny)[:, None] for x, length in zip((first, last), lengths, strict=True))
    # As exact for angles near 0 and pi, where the arc cosine of a product loses half of all digits.
    angle = 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))[:, None, None]
    direction = (angle * t).cos() * a[:, None] + (angle * t).sin() * _across(a, b)[:, None]
    arc = torch.lerp(lengths[0][:, None, None], lengths[1][:, None, None], t) * direction
    straight = ((t == 0) | (t == 1)) | (torch.minimum(*lengths) == 0)[:, None, None]
    return torch.where(straight, line, arc)


def _across(a: Tensor, b: Tensor) -> Tensor:
    """(N, Z) unit vectors at right angles to unit vectors a, towards b; any at all where b is a or -a."""
    axis = torch.zeros_like(a).scatter_(1, a.abs().argmin(1, keepdim=True), 1.0)
    towards = b - (a * b).sum(1, keepdim=True) * a
    lost = towards.norm(dim=1, keepdim=True) <= 8 * torch.finfo(a.dtype).eps
    towards = torch.where(lost, axis, towards)
    for _ in range(2):  # once more for what rounding has left
        towards = towards - (a * towards).sum(1, keepdim=True) * a
        towards = towards / towards.norm(dim=1, keepdim=True)
    return towards


def path_length(points: Tensor) -> Tensor:
    """The length of each path: the sum of the Euclidean distances of points next to each other.

    Args:
        points: (N, T, *event_shape), T of each path in order.

    Returns:
        (N,), float64 (single precision where there is none).
    """
    flat = points.flatten(2)
    flat = flat if points.device.type == "mps" else flat.double()
    return flat.diff(dim=1).norm(dim=2).sum(1)
