"""A decoder with its encoder's weights."""

from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.networks.mlp import MLP


class TransposedMLP(nn.Module):
    """The decoder W* to an encoder W: an ``MLP`` run backwards, every weight matrix transposed, with biases of its own.

    Vincent et al., Stacked Denoising Autoencoders (2010), Section 2.2, https://jmlr.org/papers/v11/vincent10a.html

    An encoder of layers a(W1 x + b1), W2 h + b2 becomes W1' a(W2' z + c1) + c2: each activation is met again between
    the same two layers, and the encoder's output activation, if it has one, is left out. Nothing to configure: the
    model that is given it as decoder calls ``tie_to`` with its encoder. It holds the encoder by reference and owns
    nothing but the biases, so that a weight exists once: in the optimizer, in a checkpoint, among the gradients that
    processes exchange.
    """

    def __init__(self) -> None:
        super().__init__()
        self.biases = nn.ParameterList()
        self._layers: tuple[nn.Module, ...] = ()  # a tuple's modules aren't registered: they are the encoder's

    def tie_to(self, encoder: nn.Module) -> None:
        """Decode what ``encoder`` encodes; the biases start at 0.

        Raises:
            UserError: the encoder isn't an ``MLP`` with one number for each element of its output.
        """
        if not isinstance(encoder, MLP):
            raise UserError(f"TransposedMLP can only be tied to an MLP, but the encoder is a {type(encoder).__name__}")
        layers = list(reversed(encoder.layers))
        while not isinstance(layers[0], nn.Linear):
            layers.pop(0)
        if (layers[0].out_features,) != encoder.out_shape:
            raise UserError("TransposedMLP needs an encoder whose outputs are vectors, with params_per_output 1")
        self._layers = tuple(layers)
        self.in_shape, self.out_shape = encoder.out_shape, encoder.in_shape
        widths = [layer.in_features for layer in layers if isinstance(layer, nn.Linear)]
        self.biases = nn.ParameterList(nn.Parameter(layers[0].weight.new_zeros(width)) for width in widths)

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, *in_shape of the encoder)."""
        if not self._layers:
            raise UserError("TransposedMLP has no weights before it is tied to an encoder, as Autoencoder does")
        h, biases = z, iter(self.biases)
        for layer in self._layers:
            h = F.linear(h, layer.weight.t(), next(biases)) if isinstance(layer, nn.Linear) else layer(h)
        return h.view(len(z), *self.out_shape)

    def unrolled(self) -> dict[str, Tensor]:
        """The state dict of the untied ``MLP`` that computes the same, to start its training from."""
        linear = [layer for layer in self._layers if isinstance(layer, nn.Linear)]
        state: dict[str, Tensor] = {}
        for position, (layer, bias) in enumerate(zip(linear, self.biases, strict=True)):
            state[f"layers.{2 * position}.weight"] = layer.weight.detach().t().contiguous()
            state[f"layers.{2 * position}.bias"] = bias.detach()
        return state
