"""Real-valued non-volume-preserving flows."""

import torch
from torch import Tensor

from lit_gen.distributions.flows.base import Flow, FlowSequence, Mapped, Reversal, check_num_steps
from lit_gen.distributions.flows.conditioner import Conditioner, dense_layers
from lit_gen.errors import UserError

MAX_LOG_SCALE = 3.0
"""What the logarithm of a scale stays within, so that a step neither overflows nor loses its inverse to rounding."""


class AffineCoupling(Flow):
    """The first half as it is, the second half as z * exp(s) + t, with s and t read off the first; Eq. 7-8.

    Args:
        dim: Z, an even number.
        hidden_dims: widths of the network's hidden layers.
        context_dim: numbers of the encoder that the network reads beside the half.
    """

    def __init__(self, dim: int, hidden_dims: list[int], context_dim: int = 0) -> None:
        super().__init__(dim, context_dim)
        if dim % 2:
            raise UserError(
                f"a RealNVP flow halves the code, so that its dim must be even, got {dim}: make the latent size even, "
                "or take IAF, which takes any"
            )
        self.network = Conditioner(dense_layers(dim // 2, dim, hidden_dims), 2, context_dim)

    def _shift_and_log_scale(self, half: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self.network(half, context).unbind(-2)
        return shift, MAX_LOG_SCALE * (log_scale / MAX_LOG_SCALE).tanh()

    def forward(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        first, second = z.chunk(2, -1)
        shift, log_scale = self._shift_and_log_scale(first, context)
        return Mapped(torch.cat([first, second * log_scale.exp() + shift], -1), log_scale.sum(-1))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        first, second = z.chunk(2, -1)
        shift, log_scale = self._shift_and_log_scale(first, context)
        return Mapped(torch.cat([first, (second - shift) * (-log_scale).exp()], -1), -log_scale.sum(-1))


class RealNVP(FlowSequence):
    """Affine couplings, the halves exchanged after each: draws and densities both take one pass a layer.

    Dinh, Sohl-Dickstein & Bengio, Density Estimation Using Real NVP (2017), Section 3.2 to 3.5,
    https://arxiv.org/abs/1605.08803, without its convolutions and batch normalization. The networks' weights are the
    same for all examples; with a ``context_dim`` they also read the encoder, each layer numbers of its own.

    Args:
        dim: Z, an even number.
        num_layers: how many couplings; below 2 one half stays as it is.
        hidden_dims: widths of the hidden layers of each coupling's network.
        context_dim: numbers of the encoder that each layer reads; 0 for the same flow for all examples, as a prior
            needs it.

    Raises:
        UserError: a number out of range, or an odd ``dim``.
    """

    def __init__(self, dim: int, num_layers: int, hidden_dims: list[int], context_dim: int = 0) -> None:
        check_num_steps("RealNVP", "num_layers", num_layers)
        layers = [AffineCoupling(dim, hidden_dims, context_dim) for _ in range(num_layers)]
        super().__init__([flow for layer in layers for flow in (layer, Reversal(dim))])
