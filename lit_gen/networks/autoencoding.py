"""A discriminator that is an autoencoder."""

from typing import Literal

from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.protocols import Judged
from lit_gen.tensor import at_least_single


class AutoencodingDiscriminator(nn.Module):
    """Examples -> energies (B,): the mean over an example's elements of |x - decoder(encoder(x))|^power.

    Zhao, Mathieu & LeCun, Energy-based Generative Adversarial Network (2017), Section 2.3,
    https://arxiv.org/abs/1609.03126, with the squared error; Berthelot, Schumm & Metz, BEGAN (2017), Section 3.1,
    https://arxiv.org/abs/1703.10717, with the absolute one.

    An energy can't be read off a code, so this has no ``from_features``; ``judge`` gives scores and codes of one pass.

    Args:
        encoder: examples (B, *event_shape) -> codes, of any shape.
        decoder: codes -> examples; the last layer decides the range, as none or a sigmoid for pixels in [0, 1].
        power: 2 or 1.

    Raises:
        UserError: another power; when called, reconstructions of another shape than the examples.
    """

    examplewise = True

    def __init__(self, encoder: nn.Module, decoder: nn.Module, power: Literal[1, 2] = 2) -> None:
        super().__init__()
        if power not in (1, 2):
            raise UserError(f"AutoencodingDiscriminator's power must be 1 or 2, got {power}")
        self.encoder = encoder
        self.decoder = decoder
        self.power = power
        if hasattr(encoder, "in_shape"):
            self.in_shape = tuple(encoder.in_shape)

    def encode(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, F), the flattened codes."""
        return self.encoder(x).flatten(1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B, *event_shape)."""
        return self.decoder(self.encoder(x))

    def energy(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """(B, *event_shape) and the same -> (B,), in single precision at least."""
        if reconstruction.shape != x.shape:
            raise UserError(
                f"AutoencodingDiscriminator's decoder makes examples of shape {tuple(reconstruction.shape[1:])} of "
                f"such of shape {tuple(x.shape[1:])}"
            )
        error = at_least_single(x - reconstruction)
        return (error.abs() if self.power == 1 else error.square()).flatten(1).mean(1)

    def judge(self, x: Tensor) -> Judged:
        """(B, *event_shape) -> the energies (B,) as its scores and the codes (B, F) as its features."""
        code = self.encoder(x)
        return Judged(x, self.energy(x, self.decoder(code)), code.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, *event_shape) -> (B,)."""
        return self.energy(x, self.reconstruct(x))
