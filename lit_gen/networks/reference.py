"""A network that sees every batch behind one fixed reference batch."""

import torch
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.networks.layers.reference_norm import ReferenceNorm
from lit_gen.networks.packed import Packed
from lit_gen.networks.wrapper import Wrapper


class ReferenceBatch(Wrapper):
    """A network with ``ReferenceBatchNorm`` or ``VirtualBatchNorm`` for its norm, and its reference batch.

    Salimans et al., Improved Techniques for Training GANs (2016), Section 3.4, https://arxiv.org/abs/1606.03498

    Each call runs the reference and the input through the network as one batch, in training with gradients through
    both, and gives what belongs to the input. Nothing is kept from one call to the next, so that in evaluation too the
    reference costs its share of time.

    Args:
        network: has such norms, and says its ``in_shape``. A ``Packed`` network goes within this one, not around it.
        num_reference: size of the reference batch.

    Raises:
        UserError: no such norms, no ``in_shape``, or a number out of range; when called, no reference is set, or a
            norm lies between the features and the output, where the reference doesn't come.
    """

    def __init__(self, network: nn.Module, num_reference: int = 64) -> None:
        super().__init__(network)
        if num_reference < 2:
            raise UserError(f"ReferenceBatch needs a num_reference of at least 2, got {num_reference}")
        if not hasattr(network, "in_shape"):
            raise UserError(f"ReferenceBatch needs a network with an in_shape, which a {type(network).__name__} hasn't")
        if not any(isinstance(module, ReferenceNorm) for module in network.modules()):
            raise UserError(
                f"ReferenceBatch finds neither a ReferenceBatchNorm nor a VirtualBatchNorm in a "
                f"{type(network).__name__}: give it one as its norm"
            )
        self.num_reference = num_reference
        _tell(network, num_reference)
        self.register_buffer("reference", torch.zeros(num_reference, *network.in_shape))
        # A buffer, so that copies and averages of the network know what the checkpoint knows.
        self.register_buffer("has_reference", torch.tensor(False))
        self._seen = False

    def set_reference(self, x: Tensor) -> None:
        """Take (num_reference, *in_shape) as the reference from now on; no gradient goes into it.

        Raises:
            UserError: another shape.
        """
        if x.shape != self.reference.shape:
            raise UserError(
                f"ReferenceBatch takes {tuple(self.reference.shape)} as its reference batch, got {tuple(x.shape)}"
            )
        self.reference.copy_(x.detach())
        self.has_reference.fill_(True)

    def enter(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (num_reference + B, *in_shape)."""
        # Asked once: on an accelerator the answer waits for all that is under way.
        self._seen = self._seen or bool(self.has_reference)
        if not self._seen:
            raise UserError("a ReferenceBatch was called before set_reference gave it its reference batch")
        return torch.cat([self.reference.to(x.dtype), x])

    def leave(self, y: Tensor, x: Tensor) -> Tensor:
        """The rows behind the reference's; a row stands for several inputs where the network is ``Packed``."""
        return y[self.num_reference * len(y) // (self.num_reference + len(x)) :]

    def _from_features(self, features: Tensor) -> Tensor:
        norms = [module for module in self.network.modules() if isinstance(module, ReferenceNorm)]
        rows = [norm.num_reference for norm in norms]
        for norm in norms:
            norm.num_reference = None  # a norm that is called refuses
        try:
            return self.network.from_features(features)
        finally:
            for norm, num in zip(norms, rows, strict=True):
                norm.num_reference = num

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._seen = False
        super()._load_from_state_dict(*args, **kwargs)


def _tell(module: nn.Module, rows: int) -> None:
    """Tell the norms within how many rows of their inputs are the reference's."""
    if isinstance(module, ReferenceNorm):
        module.num_reference = rows
    if isinstance(module, Packed):
        if rows % module.num_packed:
            raise UserError(f"ReferenceBatch's num_reference must be a multiple of num_packed, {module.num_packed}")
        rows //= module.num_packed
    for child in module.children():
        _tell(child, rows)
