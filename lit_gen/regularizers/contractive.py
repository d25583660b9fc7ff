"""The penalty of contractive autoencoders: how much a code moves with its input."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp, vmap

from lit_gen.errors import UserError


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Within the block every layer behaves as in evaluation; afterwards each has its own mode again."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


class Contractive(nn.Module):
    """weight * ||dh/dx||_F^2, the squared Frobenius norm of the Jacobian of the code h at each example.

    Rifai, Vincent, Muller, Glorot & Bengio, Contractive Auto-Encoders (2011),
    https://icml.cc/2011/papers/455_icmlpaper.pdf

    Exact for any encoder: all rows of the Jacobian (or all columns, where the input is the smaller side) are computed
    in one batched product, which takes that many times the memory and arithmetic of one pass through the encoder.
    With ``num_projections`` it is estimated instead, by the mean of |v' dh/dx|^2 over as many random sign vectors v:
    unbiased, since E[v v'] = I, at the price of one pass each (Hutchinson 1990,
    https://doi.org/10.1080/03610919008812866).

    The encoder is differentiated as it will be used, in evaluation mode: dropout is off, and batch norms use their
    running statistics, under which an example's code depends on that example alone.

    Args:
        weight: lambda, 0 or more.
        num_projections: number of random vectors for each example; None for the exact norm.

    Raises:
        UserError: an argument out of its range.
    """

    name = "contractive"

    def __init__(self, weight: float, num_projections: int | None = None) -> None:
        super().__init__()
        if not weight >= 0.0:
            raise UserError(f"Contractive needs a weight of 0 or more, got {weight}")
        if num_projections is not None and num_projections < 1:
            raise UserError(f"Contractive needs num_projections of at least 1, or null for all, got {num_projections}")
        self.weight = weight
        self.num_projections = num_projections

    def forward(self, encoder: nn.Module, x: Tensor, code: Tensor) -> Tensor:
        """(B,).

        Args:
            encoder: differentiated.
            x: (B, *event_shape), where.
            code: (B, Z), encoder(x) in whatever mode; only its shape matters.
        """
        with _evaluating(encoder):
            return self.weight * self._squared_norm(encoder, x, code.flatten(1))

    def _squared_norm(self, encoder: nn.Module, x: Tensor, code: Tensor) -> Tensor:
        if self.num_projections is not None:
            signs = torch.randint(0, 2, (self.num_projections, *code.shape), device=x.device)
            return self._pulled_back(encoder, x, 2.0 * signs.to(code) - 1.0) / self.num_projections
        if code.shape[1] <= x[0].numel():
            return self._pulled_back(encoder, x, _basis(code))
        # One column for each element of x: the codes' velocities as that element alone moves.
        columns = vmap(lambda direction: jvp(encoder, (x,), (direction,))[1])(_basis(x))  # (D, B, Z)
        return columns.square().flatten(2).sum((0, 2))

    @staticmethod
    def _pulled_back(encoder: nn.Module, x: Tensor, vectors: Tensor) -> Tensor:
        """(K, B, Z) vectors v -> (B,), the sum over k of |v_k' dh/dx|^2."""
        code, pull = vjp(encoder, x)
        (rows,) = vmap(pull)(vectors.view(len(vectors), *code.shape))  # (K, B, *event_shape)
        return rows.square().flatten(2).sum((0, 2))


def _basis(x: Tensor) -> Tensor:
    """(N, B, *event_shape): the unit vectors of x's event, each for all B examples."""
    numel = x[0].numel()
    unit = torch.eye(numel, dtype=x.dtype, device=x.device).view(numel, 1, *x.shape[1:])
    return unit.expand(numel, *x.shape)
