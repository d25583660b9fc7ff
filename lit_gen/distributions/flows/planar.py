"""Planar flows."""

from math import e, log

from torch import Tensor
from torch.nn import functional as F

from lit_gen.distributions.flows.base import Flow, FlowSequence, Mapped, check_num_steps
from lit_gen.errors import UserError

MARGIN = 1e-3
"""How far w'u stays above -1, where a layer would stop being invertible: each scales volumes by at least this."""


class PlanarLayer(Flow):
    """z + u tanh(w'z + b), with u, w and b read for each example: 2 Z + 1 numbers; Eq. 10-12 of the paper.

    The layer is invertible where w'u >= -1, which its appendix A.1 ensures by moving u along w until w'u is
    m(w'u), m(x) = -1 + log(1 + e^x). Here m(x) is shifted to m(0) = 0, and stays above -1 by ``MARGIN``: otherwise u
    would grow without bound as w tends to zero, and u = 0 would not be the identity.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 2 * dim + 1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        u, w, b = context.split([self.dim, self.dim, 1], -1)
        inner = (w * u).sum(-1, keepdim=True)
        allowed = (1.0 - MARGIN) * (F.softplus(inner + log(e - 1.0)) - 1.0)
        u = u + (allowed - inner) * w / w.square().sum(-1, keepdim=True).clamp_min(1e-30)
        height = ((w * z).sum(-1, keepdim=True) + b).tanh()
        slope = 1.0 - height.square()
        return Mapped(z + u * height, (slope * allowed).log1p().squeeze(-1))  # w'u is ``allowed`` now

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        raise UserError(
            "a planar flow has no inverse in closed form, so that only its own draws have a density: take IAF or "
            "RealNVP, or an objective that scores no other codes, as ImportanceWeighted's gradients stl and dreg would"
        )


class Planar(FlowSequence):
    """Planar layers, each of which bends space along one hyperplane; their parameters come from the encoder.

    Rezende & Mohamed, Variational Inference with Normalizing Flows (2015), Section 4.1 and 4.2,
    https://arxiv.org/abs/1505.05770. It has no inverse in closed form.

    Args:
        dim: Z.
        num_layers: how many; each reads 2 Z + 1 numbers.

    Raises:
        UserError: a number out of range; in ``inverse``, always.
    """

    def __init__(self, dim: int, num_layers: int = 10) -> None:
        check_num_steps("Planar", "num_layers", num_layers)
        super().__init__([PlanarLayer(dim) for _ in range(num_layers)])
