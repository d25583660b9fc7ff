"""A fully connected discriminator."""

from collections.abc import Callable
from math import prod

from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.networks.mlp import as_shape, hidden_layers
from lit_gen.ranges import check_at_least


class MLPDiscriminator(nn.Module):
    """Examples (B, *in_shape) -> scores (B,), read off the last hidden layer's activations by one linear layer.

    Args:
        in_shape: shape of one example; a number stands for the length of a vector. Pixels are taken as they come.
        hidden_dims: widths of the hidden layers, at least one.
        activation: as in ``MLP``.
        linear: as in ``MLP``.
        norm: as in ``MLP``.
        minibatch: makes a layer of so many features that lets the score depend on the other examples of the batch, as
            ``lit_gen.networks.layers.MinibatchDiscrimination``; it sits between the features and the score, and says
            its ``out_features``. None for none.

    Raises:
        UserError: no hidden layer.
    """

    examplewise = True

    def __init__(
        self,
        in_shape: int | tuple[int, ...],
        hidden_dims: list[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        linear: Callable[[int, int], nn.Module] = nn.Linear,
        norm: Callable[[int], nn.Module] | None = None,
        minibatch: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not hidden_dims:
            raise UserError("MLPDiscriminator needs the width of at least one hidden layer")
        check_at_least(self, 1, hidden_dims=hidden_dims)
        self.in_shape = as_shape(in_shape)
        self.layers = nn.Sequential(*hidden_layers([prod(self.in_shape), *hidden_dims], activation, linear, norm))
        self.minibatch = nn.Identity() if minibatch is None else minibatch(hidden_dims[-1])
        self.score = nn.Linear(getattr(self.minibatch, "out_features", hidden_dims[-1]), 1)

    def features(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, F): each example's own."""
        return self.layers(x.flatten(1))

    def from_features(self, features: Tensor) -> Tensor:
        """(B, F) -> (B,)."""
        return self.score(self.minibatch(features)).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B,)."""
        return self.from_features(self.features(x))
