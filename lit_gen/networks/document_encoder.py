"""An encoder of documents."""

from collections.abc import Callable

from torch import Tensor, nn

from lit_gen.networks.mlp import MLP


class DocumentEncoder(MLP):
    """A multilayer perceptron of shares of words, whose roots it sees: (B, V) -> (B, *out_shape).

    Shares of V words that sum to 1 are of order 1/V, and a few common words outweigh the rest: as they are, they move
    a new network's units next to nothing. The roots sqrt(V x) have a mean square of exactly 1 in every document, what
    the layers' initial weights are made for, and their Euclidean distances are the Hellinger distances of the shares.
    (Hinton & Salakhutdinov 2006 multiply by the document's length instead.)

    The root has no derivative at 0: penalties on the derivatives by the input, as the contractive one, can't be had.

    Args:
        num_words: V.
        out_shape: shape of one output; a number stands for the length of a vector.
        hidden_dims: widths of the hidden layers.
        activation: makes the activation after each hidden layer, as ``torch.nn.Tanh``.
    """

    def __init__(
        self,
        num_words: int,
        out_shape: int | tuple[int, ...],
        hidden_dims: list[int],
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        super().__init__(num_words, out_shape, hidden_dims, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Shares (B, V), 0 or more -> (B, *out_shape)."""
        return super().forward((x * self.in_shape[0]).sqrt())
