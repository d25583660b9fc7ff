"""The codec that a stack of layers trained one by one makes."""

from collections.abc import Callable

from torch import nn

from lit_gen.errors import UserError
from lit_gen.networks.codec import Codec
from lit_gen.networks.mlp import MLP, as_shape
from lit_gen.ranges import check_at_least


class MLPCodec(Codec):
    """Fully connected layers and their mirror image, with the same activation after every layer, the last included.

    Layer k of the encoder is ``encoder.layers.2k``, its mirror image ``decoder.layers.2(n - 1 - k)`` of n. With
    ``torch.nn.Sigmoid`` this is a stack of Bernoulli RBMs, run upwards and downwards by means.

    Args:
        in_shape: shape of one example.
        widths: of the layers, upwards; the last is the code's.
        activation: makes the activation after each layer.

    Raises:
        UserError: no widths.
    """

    def __init__(
        self, in_shape: int | tuple[int, ...], widths: list[int], activation: Callable[[], nn.Module] = nn.Sigmoid
    ) -> None:
        if not widths:
            raise UserError("MLPCodec needs the widths of at least one layer")
        check_at_least("MLPCodec", 1, widths=widths)
        shape = as_shape(in_shape)
        *hidden, code = widths
        super().__init__(
            encoder=MLP(shape, code, hidden, activation, output_activation=activation),
            decoder=MLP(code, shape, hidden[::-1], activation, output_activation=activation),
        )
        self.in_shape = shape
