"""The way up of a ladder: estimates of every layer of a code from one deterministic pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.networks.mlp import MLP, as_shape
from lit_gen.ranges import check_at_least


class LadderEncoder(nn.Module):
    """Fully connected layers d_l = MLP_l(d_{l-1}), d_0 = x; parameters of z_l are affine in d_l.

    Sønderby et al., Ladder Variational Autoencoders (2016), https://arxiv.org/abs/1602.02282, without their batch norm.

    Args:
        in_shape: shape of one example.
        latent_dims: lengths of z_1, …, z_L, from the layer next to the data upwards.
        hidden_dims: widths of the hidden layers on the way to each of them: one list a layer.
        activation: makes the activation after each hidden layer.
        params_per_output: P, numbers that the head reads for each element.

    Raises:
        UserError: not one list of at least one width for each layer.
    """

    def __init__(
        self,
        in_shape: int | tuple[int, ...],
        latent_dims: list[int],
        hidden_dims: list[list[int]],
        activation: Callable[[], nn.Module] = nn.ReLU,
        params_per_output: int = 2,
    ) -> None:
        super().__init__()
        if len(hidden_dims) != len(latent_dims) or not all(hidden_dims):
            raise UserError(
                "LadderEncoder needs hidden_dims with a list of at least one width for each of its "
                f"{len(latent_dims)} latent_dims, got {hidden_dims}"
            )
        widths = [width for of_layer in hidden_dims for width in of_layer]
        check_at_least(self, 1, latent_dims=latent_dims, hidden_dims=widths, params_per_output=params_per_output)
        self.in_shape = as_shape(in_shape)
        shape: int | tuple[int, ...] = self.in_shape
        self.rungs, self.estimates = nn.ModuleList(), nn.ModuleList()
        for dim, widths in zip(latent_dims, hidden_dims, strict=True):
            *hidden, last = widths
            self.rungs.append(MLP(shape, last, hidden, activation, output_activation=activation))
            self.estimates.append(MLP(last, dim, [], params_per_output=params_per_output))
            shape = last

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, P, Z_1 + … + Z_L)."""
        parts = []
        for rung, estimate in zip(self.rungs, self.estimates, strict=True):
            x = rung(x)
            parts.append(estimate(x))
        return torch.cat(parts, -1)
