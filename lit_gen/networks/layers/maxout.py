"""Hidden units that are the largest of several affine maps."""

from torch import Tensor, nn

from lit_gen.ranges import check_at_least


class Maxout(nn.Module):
    """h_i = max_j (w_ij x + b_ij): (B, in_features) -> (B, out_features), linear map and activation in one.

    Goodfellow, Warde-Farley, Mirza, Courville & Bengio, Maxout Networks (2013), Section 3,
    https://arxiv.org/abs/1302.4389

    Args:
        in_features: length of an input.
        out_features: number of units.
        num_pieces: affine maps that each unit takes the largest of.

    Raises:
        UserError: no units, or no pieces.
    """

    examplewise = True

    def __init__(self, in_features: int, out_features: int, num_pieces: int = 5) -> None:
        super().__init__()
        check_at_least(self, 1, out_features=out_features, num_pieces=num_pieces)
        self.num_pieces = num_pieces
        self.pieces = nn.Linear(in_features, out_features * num_pieces)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_features) -> (B, out_features)."""
        return self.pieces(x).unflatten(1, (-1, self.num_pieces)).amax(2)
