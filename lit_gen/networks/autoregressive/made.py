"""The masked autoencoder for distribution estimation."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.networks.autoregressive.any_order import AnyOrderNetwork
from lit_gen.protocols import Stepper
from lit_gen.randomness import make_generator


class MADE(AnyOrderNetwork):
    """A multilayer perceptron whose masks leave an output only the paths from the cells before it.

    Germain, Gregor, Murray & Larochelle, MADE: Masked Autoencoder for Distribution Estimation (2015), Section 4,
    https://arxiv.org/abs/1502.03509

    Every unit has a degree, the number of cells that it may look at: a hidden unit of degree k is a function of the
    first k cells of the order, and the output for a cell with k before it has degree k (Eq. 12-13, whose output d has
    degree d - 1 here). The paper draws each hidden degree by itself. Here those of a layer are spread evenly over 1,
    ..., S - 1 from a random start and then shuffled, so that a layer of S - 1 units or more has all of them; if every
    layer has, each output sees all cells before its own.

    Each of several masks has hidden degrees of its own (the paper's connectivity-agnostic training) and with
    ``random_order`` an order of its own (its order-agnostic training).

    Args:
        event_shape: shape of one example.
        hidden_dims: widths of the hidden layers.
        params_per_output: P.
        num_classes: number of classes that it is conditioned on, each with biases of its own; None for none.
        num_orders: number of masks, in turn in training and averaged in evaluation.
        random_order: whether each mask has an order drawn at random, or all have the natural one.
        direct: whether inputs are joined to outputs directly, too: the linear terms of a belief network.
        activation: makes the activation after each hidden layer; it must be elementwise.
        seed: names what is drawn of degrees and orders.

    Raises:
        UserError: a hidden layer without units, or neither a hidden layer nor direct connections.
    """

    def __init__(
        self,
        event_shape: int | tuple[int, ...],
        hidden_dims: list[int],
        params_per_output: int = 1,
        num_classes: int | None = None,
        num_orders: int = 1,
        random_order: bool = False,
        direct: bool = False,
        activation: Callable[[], nn.Module] = nn.ReLU,
        seed: int = 0,
    ) -> None:
        super().__init__(event_shape, params_per_output, num_classes, num_orders, random_order, seed)
        if any(width < 1 for width in hidden_dims):
            raise UserError(f"a MADE's hidden layers need at least 1 unit each, got hidden_dims {hidden_dims}")
        if not hidden_dims and not direct:
            raise UserError("a MADE without hidden layers needs direct connections: set direct: true")
        self.hidden_dims = list(hidden_dims)
        outputs = params_per_output * self.num_cells
        widths = [self.num_cells, *hidden_dims]
        self.hidden = nn.ModuleList(_Layer(*sizes, num_classes) for sizes in itertools.pairwise(widths))
        self.output = _Layer(widths[-1], outputs, num_classes)
        self.direct = nn.Linear(self.num_cells, outputs, bias=False) if direct and hidden_dims else None
        self.activation = activation()
        self.register_buffer("hidden_degrees", self._draw_degrees())  # (num_orders, sum of hidden_dims)

    def _draw_degrees(self) -> Tensor:
        masks = torch.empty(self.num_orders, sum(self.hidden_dims), dtype=torch.long)
        for number, mask in enumerate(masks):
            generator = make_generator("degrees", self.seed, number)
            for layer in mask.split(self.hidden_dims):
                layer.copy_(_degrees(len(layer), self.num_cells - 1, generator))
        return masks

    def degrees(self, order: int) -> list[Tensor]:
        """Degrees of the inputs (S,), of each hidden layer, and of the cells' outputs (S,), under that mask."""
        place = self.orders[order].argsort()
        return [place + 1, *self.hidden_degrees[order].split(self.hidden_dims), place]

    def forward(self, x: Tensor, label: Tensor | None = None, order: int = 0) -> Tensor:
        """(B, *event_shape), class indices (B,) -> (B, P, *event_shape) under the mask of that number."""
        *degrees, out = self.degrees(order)
        outputs = out.repeat(self.params_per_output)
        x = h = x.flatten(1)
        for layer, (before, after) in zip(self.hidden, itertools.pairwise(degrees), strict=True):
            h = self.activation(layer(h, _mask(before, after), label))
        params = self.output(h, _mask(degrees[-1], outputs), label)
        if self.direct is not None:
            params = params + F.linear(x, _masked(self.direct.weight, _mask(degrees[0], outputs)))
        return params.view(len(x), self.params_per_output, *self.event_shape)

    def stepper(self, num: int, label: Tensor | None = None, order: int = 0) -> Stepper:
        """Keeps the hidden units that are known; each is computed once, as soon as it can be."""
        return _Units(self, num, label, order)


def _degrees(width: int, largest: int, generator: torch.Generator) -> Tensor:
    """(width,) degrees from 1 to ``largest``, evenly many of each, in random order."""
    spread = (torch.arange(width) + torch.rand((), generator=generator)) * (largest / width)
    degrees = 1 + spread.long().clamp_(max=max(largest - 1, 0))
    return degrees[torch.randperm(width, generator=generator)]


def _mask(before: Tensor, after: Tensor) -> Tensor:
    """Which units of a layer (rows) may look at which of the layer before it (columns)."""
    return before <= after.unsqueeze(1)


def _masked(weight: Tensor, mask: Tensor) -> Tensor:
    """weight * mask, without making numbers of the mask first."""
    return torch.where(mask, weight, 0)


class _Layer(nn.Linear):
    """A linear layer under a mask that it is given, with biases for each class."""

    def __init__(self, in_features: int, out_features: int, num_classes: int | None) -> None:
        super().__init__(in_features, out_features)
        if num_classes is not None:
            self.bias = nn.Parameter(self.bias.detach().repeat(num_classes, 1))  # (num_classes, out)

    def forward(self, x: Tensor, mask: Tensor, label: Tensor | None) -> Tensor:
        """(B, in), (out, in) -> (B, out)."""
        return torch.addmm(self.biases(label), x, _masked(self.weight, mask).T)

    def biases(self, label: Tensor | None) -> Tensor:
        """(out,), or for classes (B,) theirs, (B, out)."""
        return self.bias if label is None else self.bias[label]


class _Units:
    """Each layer with its units sorted by degree, so that which of them are known is told by a number.

    At the cell with k cells before it those of degree k become known, and no others: a few columns of each layer, which
    look at the first columns of the layer before.
    """

    def __init__(self, network: MADE, num: int, label: Tensor | None, order: int) -> None:
        degrees = network.degrees(order)
        self.activation = network.activation
        self.counts = [_counts(layer, network.num_cells).tolist() for layer in degrees[1:-1]]
        self.values = [network.output.weight.new_empty(num, len(layer)) for layer in degrees[:-1]]
        *units, cells = (layer.argsort() for layer in degrees)
        self.hidden = [
            (layer.weight.detach()[after][:, before].T.contiguous(), layer.biases(label).detach()[..., after])
            for layer, (before, after) in zip(network.hidden, itertools.pairwise(units), strict=True)
        ]
        self.output = _by_cell(network.output.weight, cells, units[-1])
        self.direct = None if network.direct is None else _by_cell(network.direct.weight, cells, units[0])
        bias = network.output.biases(label).detach().unflatten(-1, (-1, network.num_cells))
        self.bias = bias[..., cells].movedim(-1, 0).contiguous()  # (S, P), or of classes (S, N, P)
        self.done = 0

    def __call__(self, previous: Tensor | None) -> Tensor:
        done, values = self.done, self.values
        self.done += 1
        if previous is not None:
            values[0][:, done - 1 : done] = previous
        known = values[0][:, :done]
        for (weight, bias), counts, kept in zip(self.hidden, self.counts, values[1:], strict=True):
            first, last = counts[done], counts[done + 1]
            if last > first:
                seen = weight[: known.shape[1], first:last]
                kept[:, first:last] = self.activation(torch.addmm(bias[..., first:last], known, seen))
            known = kept[:, :last]
        params = torch.addmm(self.bias[done], known, self.output[done, :, : known.shape[1]].T)
        if self.direct is not None:
            params = torch.addmm(params, values[0][:, :done], self.direct[done, :, :done].T)
        return params


def _counts(degrees: Tensor, num_cells: int) -> Tensor:
    """How many of the units have a degree below k: for k = 0, ..., S."""
    return torch.searchsorted(degrees.sort().values, torch.arange(num_cells + 1, device=degrees.device))


def _by_cell(weight: Tensor, cells: Tensor, units: Tensor) -> Tensor:
    """(P * S, in) -> (S, P, in), in the order of the cells and of the units."""
    return weight.detach().unflatten(0, (-1, len(cells))).transpose(0, 1)[cells][..., units].contiguous()
