"""The multilayer perceptron."""

import itertools
from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.ranges import check_at_least


def as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape given as a tuple, or as the length of a vector."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(size < 1 for size in shape):
        raise UserError(f"every size in a shape must be at least 1, got {shape}")
    return shape


def hidden_layers(
    widths: Sequence[int],
    activation: Callable[[], nn.Module],
    linear: Callable[[int, int], nn.Module],
    norm: Callable[[int], nn.Module] | None,
) -> list[nn.Module]:
    """Layers that take vectors of ``widths[0]`` numbers to ``widths[-1]``, the arguments as in ``MLP``."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [linear(before, after), *([] if norm is None else [norm(after)]), activation()]
    return layers


class MLP(nn.Module):
    """Fully connected layers: (B, *in_shape) -> (B, *out_shape).

    Weights start at PyTorch's default for linear layers, uniform within 1 / sqrt(fan in), under which signals fade from
    layer to layer: a deep network wants a ``weight_init``.

    Args:
        in_shape: shape of one input; a number stands for the length of a vector.
        out_shape: shape of one output; ``[]`` gives one number for each example, (B,), as a discriminator's score.
        hidden_dims: widths of the hidden layers; ``[]`` makes the network affine.
        activation: makes the activation after each hidden layer, as ``torch.nn.Tanh``.
        params_per_output: with P > 1 the output is (B, P, *out_shape): a head that needs P numbers for each element.
        output_activation: makes the activation of the last layer, as ``torch.nn.Sigmoid`` for a code in (0, 1); None
            for none.
        weight_init: sets each weight matrix in place, as ``torch.nn.init.kaiming_normal_``; biases then start at 0.
            None for the default.
        linear: makes each hidden layer, which takes and gives vectors of those lengths: ``torch.nn.Linear``, or
            ``lit_gen.networks.layers.Maxout``, which wants ``torch.nn.Identity`` for an activation.
        norm: makes the norm of so many features between a hidden layer and its activation; None for none.

    Raises:
        UserError: a size below 1.
    """

    examplewise = True

    def __init__(
        self,
        in_shape: int | tuple[int, ...],
        out_shape: int | tuple[int, ...],
        hidden_dims: list[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        params_per_output: int = 1,
        output_activation: Callable[[], nn.Module] | None = None,
        weight_init: Callable[[Tensor], Tensor] | None = None,
        linear: Callable[[int, int], nn.Module] = nn.Linear,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        check_at_least(self, 1, hidden_dims=hidden_dims, params_per_output=params_per_output)
        self.in_shape = as_shape(in_shape)
        self.out_shape = as_shape(out_shape)
        self._leading = (params_per_output,) if params_per_output > 1 else ()
        widths = [prod(self.in_shape), *hidden_dims]
        layers = hidden_layers(widths, activation, linear, norm)
        layers.append(nn.Linear(widths[-1], params_per_output * prod(self.out_shape)))
        if output_activation is not None:
            layers.append(output_activation())
        self.layers = nn.Sequential(*layers)
        if weight_init is not None:
            for layer in self.layers.modules():
                if isinstance(layer, nn.Linear):
                    weight_init(layer.weight)
                    nn.init.zeros_(layer.bias)

    @property
    def output_bias(self) -> Tensor:
        """(*out_shape), or (params_per_output, *out_shape): a view of the last layer's bias."""
        last = [layer for layer in self.layers if isinstance(layer, nn.Linear)][-1]
        return last.bias.view(*self._leading, *self.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, *out_shape), or (B, params_per_output, *out_shape)."""
        return self.layers(x.flatten(1)).view(len(x), *self._leading, *self.out_shape)
