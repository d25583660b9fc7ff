"""The distribution of a flow's codes, as a posterior and as a prior."""

from math import ceil

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lit_gen.distributions.draws import ScoredDraws, scored_draws
from lit_gen.distributions.flows.base import Flow
from lit_gen.distributions.parameters import several_params
from lit_gen.errors import UserError


class FlowDistribution(Distribution):
    """Codes f(z), z from a base distribution: batch as the base's, event (Z,).

    Rezende & Mohamed, Variational Inference with Normalizing Flows (2015), Eq. 5-7, https://arxiv.org/abs/1505.05770.
    It has no mean in closed form.

    Args:
        base: batch (B,) or (), event (Z,), with ``rsample`` and ``log_prob``.
        flow: f.
        context: (B, context_dim), what f reads for each example; None where that is nothing.
    """

    arg_constraints = {}

    def __init__(self, base: Distribution, flow: Flow, context: Tensor | None = None) -> None:
        self.base = base
        self.flow = flow
        self.context = context
        self.has_rsample = base.has_rsample
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def center(self) -> Tensor:
        """(*batch_shape, Z), what the flow makes of the base's mean: a typical code, though not the mean."""
        return self.flow(self.base.mean, self.context).z

    def rows(self, index: Tensor) -> "FlowDistribution":
        """Those of the batch's members that ``index``, (N,), names: batch (N,)."""
        return FlowDistribution(self.base.rows(index), self.flow, None if self.context is None else self.context[index])

    def rsample_with_log_prob(self, sample_shape: tuple[int, ...] = ()) -> ScoredDraws:
        """(*sample_shape, *batch_shape, Z) draws and (*sample_shape, *batch_shape) log-densities: one pass of f."""
        z, log_prob = scored_draws(self.base, sample_shape)
        z, log_det = self.flow(z, self.context)
        return ScoredDraws(z, log_prob - log_det)

    @torch.no_grad()
    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, Z) draws."""
        return self.flow(self.base.sample(sample_shape), self.context).z

    def rsample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        """(*sample_shape, *batch_shape, Z) draws, differentiable in the parameters of the base and of the flow."""
        return self.flow(self.base.rsample(sample_shape), self.context).z

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., *batch_shape, Z) -> (..., *batch_shape), log-densities in nats: one pass of the inverse.

        Raises:
            UserError: the flow has no inverse in closed form.
        """
        # A single code for all members of the batch meets as many maps.
        z = z.expand(torch.broadcast_shapes(z.shape, (*self.batch_shape, *self.event_shape)))
        z, log_det = self.flow.inverse(z, self.context)
        return self.base.log_prob(z) + log_det


class FlowPosterior(nn.Module):
    """Parameters (B, P, Z) -> the base's draws carried through a flow: batch (B,), event (Z,).

    The first rows are the base head's; the others, read as one vector, are the flow's context, of which the last
    entries are not read where it is no multiple of Z. The KL divergence has no closed form: ``ELBO`` needs
    ``closed_form_kl: false``.

    Args:
        base: head whose distribution has ``rsample`` and ``log_prob``, as ``NormalHead``.
        flow: the map, which may read numbers for each example.

    Raises:
        UserError: parameters of another shape.
    """

    def __init__(self, base: nn.Module, flow: Flow) -> None:
        super().__init__()
        self.base = base
        self.flow = flow
        self.params_per_output = base.params_per_output + ceil(flow.context_dim / flow.dim)

    def forward(self, params: Tensor) -> FlowDistribution:
        """(B, P, Z) -> a distribution with batch (B,)."""
        name = f"FlowPosterior of this {type(self.flow).__name__}"
        if self.params_per_output == 1:  # the network gives such a head its numbers without that dimension
            params = params.unsqueeze(1) if params.dim() == 2 else params
        params = several_params(params, self.params_per_output, name)
        if params.shape[2:] != (self.flow.dim,):
            raise UserError(
                f"a {name} maps codes of {self.flow.dim} dimensions, but got parameters of shape "
                f"{tuple(params.shape)}: make the encoder's latent size and the flow's dim equal"
            )
        count = self.base.params_per_output
        context = params[:, count:].flatten(1)[:, : self.flow.context_dim] if self.flow.context_dim else None
        return FlowDistribution(self.base(params[:, :count] if count > 1 else params[:, 0]), self.flow, context)


class FlowPrior(nn.Module):
    """A learned prior: another prior's draws carried through a flow that is the same for all examples.

    Its density needs the flow's inverse: ``RealNVP`` has it in one pass a layer. Chen et al., Variational Lossy
    Autoencoder (2017), Section 3.2, https://arxiv.org/abs/1611.02731

    Args:
        base: gives the distribution whose draws are mapped, as ``StandardNormal``.
        flow: the map.

    Raises:
        UserError: the flow reads numbers for each example, or is of another size.
    """

    def __init__(self, base: nn.Module, flow: Flow) -> None:
        super().__init__()
        if flow.context_dim:
            raise UserError(
                f"a FlowPrior needs a flow that is the same for all examples, but this {type(flow).__name__} reads "
                f"{flow.context_dim} numbers of each: take RealNVP or IAF with context_dim 0"
            )
        if flow.dim != base.dim:
            raise UserError(f"a FlowPrior's flow maps codes of {flow.dim} dimensions, but its base has {base.dim}")
        self.dim = base.dim
        self.base = base
        self.flow = flow

    def forward(self) -> FlowDistribution:
        """The distribution: batch (), event (dim,)."""
        return FlowDistribution(self.base(), self.flow)
