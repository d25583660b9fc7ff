"""Networks that treat each example of a batch by itself, so that two batches may be run as one."""

from torch import nn

TORCH_MODULES = (
    nn.Sequential,
    nn.Identity,
    nn.Linear,
    nn.Flatten,
    nn.Unflatten,
    nn.LayerNorm,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
)
"""Those of torch's that look at no other example, draw nothing and change nothing when they are run."""


def is_examplewise(network: nn.Module) -> bool:
    """Whether a row of its output depends on nothing but the same row of its input and its weights.

    Then running it on two batches put together gives what running it on either gives, in training too. A network that
    isn't known to be so is taken not to be. Known are ``TORCH_MODULES``, and classes whose own body says ``examplewise
    = True``, which stands for their ``forward`` given parts that are: not their subclasses, nor what has been
    parametrized or hooked, as by a spectral norm. Hooks on the output of the whole network are its user's to know.
    """
    return all(_is_known(part) and (part is network or not part._forward_hooks) for part in network.modules())


def _is_known(part: nn.Module) -> bool:
    kind, own = type(part), vars(part)
    if kind not in TORCH_MODULES and not vars(kind).get("examplewise", False):
        return False
    if part._forward_pre_hooks or "forward" in own:
        return False
    return 0 not in (own.get("start_dim"), own.get("dim"))  # Flatten and Unflatten may take the rows apart
