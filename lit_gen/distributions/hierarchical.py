"""Codes in layers (z_1, …, z_L), each layer drawn given its neighbour: posteriors upwards, priors downwards.

Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders (2016), Eq. 1 and 4, https://arxiv.org/abs/1509.00519
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.errors import UserError

Conditional = Callable[[Tensor], Distribution]
"""(N, Z) values of one layer -> the distribution of the next to be drawn: batch (N,)."""


class LayeredCode(Distribution):
    """Layers drawn one after another, each given the one before; the event is their concatenation (z_1, …, z_L).

    Args:
        first: the layer that is drawn first.
        conditionals: of the others, in the order in which they are drawn. They are handed the values of the layer
            before with all draws and examples in one dimension, draws first.
        dims: lengths of z_1, …, z_L.
        upwards: z_1 is drawn first; otherwise z_L is.
    """

    arg_constraints = {}

    def __init__(
        self, first: Distribution, conditionals: Sequence[Conditional], dims: Sequence[int], upwards: bool
    ) -> None:
        self.first = first
        self.conditionals = conditionals
        self.dims = tuple(dims)
        self.upwards = upwards
        self.has_rsample = first.has_rsample
        super().__init__(first.batch_shape, torch.Size([sum(self.dims)]), validate_args=False)

    @property
    def center(self) -> Tensor:
        """(*batch_shape, Z): each layer's mean given the mean of the layer before it.

        Of the layer drawn first it is the mean; of the others too where each mean is affine in the layer before.
        """
        layers = [self.first.mean]
        for conditional in self.conditionals:
            layer = conditional(_rows(layers[-1])).mean
            layers.append(layer.view(*self.batch_shape, -1))
        return torch.cat(self._turned(layers), -1)

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, Z) draws, differentiable in the parameters of all layers."""
        return self.rsample_with_log_prob(sample_shape)[0]

    def rsample_with_log_prob(self, sample_shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
        """(*sample_shape, *batch_shape, Z) draws and (*sample_shape, *batch_shape) log-densities, in nats.

        The networks between the layers are run once, by ``rsample`` and ``log_prob`` they would be twice.
        """
        first = self.first
        layers = [first.rsample(sample_shape) if first.has_rsample else first.sample(sample_shape)]
        log_prob = self.first.log_prob(layers[0])
        for conditional in self.conditionals:
            p = conditional(_rows(layers[-1]))
            layer = p.rsample()
            log_prob = log_prob + p.log_prob(layer).view(log_prob.shape)
            layers.append(layer.view(*log_prob.shape, -1))
        return torch.cat(self._turned(layers), -1), log_prob

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., *batch_shape, Z) -> (..., *batch_shape), log-densities in nats, summed over the layers."""
        before, *layers = self._turned(z.split(self.dims, -1))
        log_prob = self.first.log_prob(before)
        for conditional, layer in zip(self.conditionals, layers, strict=True):
            log_prob = log_prob + conditional(_rows(before)).log_prob(_rows(layer)).view(log_prob.shape)
            before = layer
        return log_prob

    def _turned(self, layers: Sequence[Tensor]) -> Sequence[Tensor]:
        """From the order of the event to that of drawing, or back."""
        return layers if self.upwards else layers[::-1]


def _rows(z: Tensor) -> Tensor:
    """(..., Z) -> (N, Z)."""
    return z.reshape(-1, z.shape[-1])


def conditional(network: nn.Module, head: nn.Module) -> Conditional:
    """The distribution that ``head`` makes of the network's output."""
    return lambda z: head(network(z))


def layer_dims(first: int, networks: Sequence[nn.Module], owner: str) -> list[int]:
    """Lengths of the layers, in the order in which they are drawn.

    Args:
        first: length of the first.
        networks: between them; each has ``in_shape`` and ``out_shape``.
        owner: what the message calls the hierarchy.

    Raises:
        UserError: a network that doesn't say its shapes, or takes another length than that of the layer before it.
    """
    dims = [first]
    for number, network in enumerate(networks):
        if not (hasattr(network, "in_shape") and hasattr(network, "out_shape")):
            raise UserError(
                f"{owner}'s networks need an in_shape and an out_shape, as lit_gen.networks.MLP has; a "
                f"{type(network).__name__} hasn't"
            )
        if tuple(network.in_shape) != (dims[-1],):
            raise UserError(
                f"{owner}'s network {number} takes inputs of shape {tuple(network.in_shape)}, but the layer before it "
                f"has shape {(dims[-1],)}"
            )
        if len(network.out_shape) != 1:
            raise UserError(f"{owner}'s network {number} must give a vector, not shape {tuple(network.out_shape)}")
        dims.append(network.out_shape[0])
    return dims


class HierarchicalHead(nn.Module):
    """The encoder's output -> q(z|x) = q(z_1|x) q(z_2|z_1) … q(z_L|z_{L-1}): batch (B,), event (Z_1 + … + Z_L,).

    Args:
        head: makes each layer's distribution: q(z_1|x) of the encoder's output, the others of the networks'.
        networks: z_1 -> parameters of z_2, z_2 -> those of z_3, …; each has ``in_shape`` and ``out_shape``, as
            ``lit_gen.networks.MLP``. Without any this is ``head`` alone.

    Raises:
        UserError: at the first use, networks that don't fit the layers before them.
    """

    def __init__(self, head: nn.Module, networks: list[nn.Module]) -> None:
        super().__init__()
        self.head = head
        self.networks = nn.ModuleList(networks)
        self.params_per_output = head.params_per_output

    def forward(self, params: Tensor) -> LayeredCode:
        """The parameters of z_1, as ``head`` reads them -> a distribution with batch (B,)."""
        first = self.head(params)
        dims = layer_dims(first.event_shape[0], self.networks, "HierarchicalHead")
        conditionals = [conditional(network, self.head) for network in self.networks]
        return LayeredCode(first, conditionals, dims, upwards=True)


class HierarchicalPrior(nn.Module):
    """p(z) = p(z_L) p(z_{L-1}|z_L) … p(z_1|z_2). Calling it gives the distribution; its event is (z_1, …, z_L).

    A decoder of z_1 alone is a ``lit_gen.networks.BottomLayer``.

    Args:
        top: called, gives p(z_L); has ``dim``.
        head: makes each other layer's distribution of a network's output.
        networks: downwards: z_L -> parameters of z_{L-1}, …, z_2 -> those of z_1; each has ``in_shape`` and
            ``out_shape``, as ``lit_gen.networks.MLP``.

    Raises:
        UserError: networks that don't fit the layers above them.
    """

    def __init__(self, top: nn.Module, head: nn.Module, networks: list[nn.Module]) -> None:
        super().__init__()
        self.top = top
        self.head = head
        self.networks = nn.ModuleList(networks)
        self.dims = tuple(layer_dims(top.dim, networks, "HierarchicalPrior")[::-1])
        self.dim = sum(self.dims)

    def forward(self) -> LayeredCode:
        """The distribution: batch (), event (dim,)."""
        return LayeredCode(self.top(), self.conditionals(), self.dims, upwards=False)

    def conditionals(self) -> list[Conditional]:
        """p(z_{L-1}|z_L), …, p(z_1|z_2), as ``LayeredCode`` takes them."""
        return [conditional(network, self.head) for network in self.networks]

    def check_posterior(self, posterior: Distribution) -> None:
        """Refuse codes that are cut into other layers.

        Raises:
            UserError: the posterior's layers have other lengths.
        """
        dims = getattr(posterior, "dims", self.dims)
        if tuple(dims) != self.dims:
            raise UserError(
                f"the posterior's layers have lengths {tuple(dims)}, but the prior's have {self.dims}, from the layer "
                "next to the data upwards: make them equal"
            )
