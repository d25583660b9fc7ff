"""Inverse autoregressive flows."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lit_gen.distributions.flows.base import Flow, FlowSequence, Mapped, Reversal, check_num_steps
from lit_gen.distributions.flows.conditioner import Conditioner, autoregressive_layers

INITIAL_GATE = 1.5
"""s at the start: the paper wants +1 or +2, so that a step changes little at first."""


class IAFStep(Flow):
    """gate * z + (1 - gate) * m, gate = sigmoid(s): Eq. 13-14, with m and s of coordinate i read off those before i.

    Args:
        dim: Z.
        hidden_dims: widths of the masked network's hidden layers.
        context_dim: numbers of the encoder that the network reads beside the code.
    """

    def __init__(self, dim: int, hidden_dims: list[int], context_dim: int = 0) -> None:
        super().__init__(dim, context_dim)
        self.network = Conditioner(autoregressive_layers(dim, 2, hidden_dims), 2, context_dim)

    def _shift_and_gate(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, gate = self.network(z, context).unbind(-2)
        return shift, gate + INITIAL_GATE

    def forward(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        shift, gate = self._shift_and_gate(z, context)
        return Mapped(torch.lerp(shift, z, gate.sigmoid()), F.logsigmoid(gate).sum(-1))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Mapped:
        known: list[Tensor] = []
        log_det = torch.zeros((), dtype=z.dtype, device=z.device)
        for i in range(self.dim):
            # What isn't known yet is seen by nothing that is read.
            so_far = F.pad(torch.stack(known, -1), (0, self.dim - i)) if known else torch.zeros_like(z)
            shift, gate = (values[..., i] for values in self._shift_and_gate(so_far, context))
            # (z - (1 - sigmoid) m) / sigmoid
            known.append(z[..., i] + (z[..., i] - shift) * (-gate).exp())
            log_det = log_det - F.logsigmoid(gate)
        return Mapped(torch.stack(known, -1), log_det)


class IAF(FlowSequence):
    """Inverse autoregressive flow: draws in one pass a step, densities of other codes in Z passes a step.

    Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow (2016), Algorithm 1 and Eq. 13-14,
    https://arxiv.org/abs/1606.04934. The networks' weights are the same for all examples; they read a context from the
    encoder, as in the paper, each step one of its own. The order of the coordinates is reversed after every step.

    Args:
        dim: Z.
        num_steps: how many steps.
        hidden_dims: widths of the hidden layers of each step's masked network.
        context_dim: numbers of the encoder that each step reads; 0 for the same flow for all examples.

    Raises:
        UserError: a number out of range.
    """

    def __init__(self, dim: int, num_steps: int, hidden_dims: list[int], context_dim: int = 0) -> None:
        check_num_steps("IAF", "num_steps", num_steps)
        steps = [IAFStep(dim, hidden_dims, context_dim) for _ in range(num_steps)]
        super().__init__([flow for step in steps for flow in (step, Reversal(dim))])
