"""Importance weights in compiled code."""

import warnings

import torch
from torch import Tensor

from lit_gen.protocols import ImportanceWeights


def compiled_weights(model: ImportanceWeights, device: torch.device) -> ImportanceWeights:
    """``model`` with its importance weights compiled; where ``device`` has no working compiler, itself and a warning.

    ``torch.compile`` wants a C++ compiler for a CPU (g++, or what the variable CXX names), Triton for a GPU.
    """
    try:
        torch.compile(torch.neg, dynamic=False)(torch.zeros(2, device=device))
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        warnings.warn(f"torch.compile fails, so likelihoods are computed uncompiled: {reason}", stacklevel=2)
        return model
    return _Compiled(model)


class _Compiled:
    """The weights of ``model``, compiled at the first call with arguments of a shape."""

    def __init__(self, model: ImportanceWeights) -> None:
        # The compiler's own generator would draw other noise than an uncompiled run.
        self._weigh = torch.compile(model.log_importance_weights, dynamic=False, options={"fallback_random": True})

    def log_importance_weights(self, x: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
        """As in ``ImportanceWeights``."""
        return self._weigh(x, num_samples, label)
