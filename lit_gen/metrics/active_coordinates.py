"""Which coordinates of a code say anything: what figures of disentanglement look at."""

from torch import Tensor


def active_coordinates(codes: Tensor, min_variance: float) -> Tensor:
    """(N, Z) codes -> (Z,) bool, whether a coordinate varies over the examples, its variance at least ``min_variance``.

    The mean of a posterior that has collapsed to the prior still varies a little, far less than its draws do, and a
    figure that looks at it under the microscope finds there what no decoder can see.
    """
    variance = codes.double().var(0, correction=0)
    # A constant's variance is no more than rounding, but it may be more than 0.
    return (variance >= min_variance) & (codes.amax(0) > codes.amin(0))
