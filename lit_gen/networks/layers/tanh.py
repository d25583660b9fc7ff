"""The hyperbolic tangent."""

import torch
from torch import Tensor, nn


class Tanh(nn.Module):
    """``torch.nn.Tanh``, in less time where a CPU evaluates without a gradient.

    There tanh(x) = 1 - 2 sigmoid(-2 x), which is within 2e-7 of it in single precision: PyTorch takes tanh from MKL, of
    which processors that are not Intel's run a slow path, six times slower than its own sigmoid. With a gradient it is
    PyTorch's tanh to the bit.
    """

    examplewise = True

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, any shape."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32:
            return x.tanh()
        return torch.rsub((-2 * x).sigmoid_(), 1, alpha=2)
