"""How far a reconstruction is from its target: ``objective(output, target) -> (B,)``, summed over the event.

Each objective also says by ``mean(output)`` which reconstruction the decoder's output stands for, so that the choice of
one is the choice of both.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.tensor import sum_except_batch


def _may_look(target: Tensor) -> bool:
    # On an accelerator a look at the values waits for all that is queued: not in every training step.
    return target.device.type == "cpu" or not torch.is_grad_enabled()


class SquaredError(nn.Module):
    """|x - y|^2, y being the decoder's output: up to constants -log N(x; y, I/2).

    Least squares under a linear encoder and decoder is PCA: Bourlard & Kamp, Auto-association by multilayer perceptrons
    and singular value decomposition (1988), https://doi.org/10.1007/BF00332918
    """

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """(B, *event_shape), (B, *event_shape) -> (B,)."""
        return sum_except_batch((output - target).square())

    def mean(self, output: Tensor) -> Tensor:
        """The output itself."""
        return output


class CrossEntropy(nn.Module):
    """-sum_i x_i log y_i + (1 - x_i) log(1 - y_i) in nats, y = sigmoid(output).

    Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks (2006),
    https://doi.org/10.1126/science.1127647

    For binary x this is -log p(x|z) of independent Bernoulli pixels. For grey ones it isn't a likelihood, and its least
    value, at y = x, isn't 0 but the entropy sum_i H(x_i), 46 nats in the mean over MNIST's test images: read
    differences, or compare models by their squared error.

    Raises:
        UserError: on targets outside [0, 1]. Looked for on a CPU at every call, on an accelerator wherever no gradients
            are recorded, such as in validation.
    """

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Logits (B, *event_shape), targets in [0, 1] of the same shape -> (B,)."""
        if _may_look(target):
            low, high = (value.item() for value in torch.aminmax(target.detach()))
            if not (low >= 0.0 and high <= 1.0):
                raise UserError(
                    f"CrossEntropy needs targets in [0, 1], but there are values from {low:.4g} to {high:.4g}: scale "
                    "the data, or use SquaredError"
                )
        return sum_except_batch(F.binary_cross_entropy_with_logits(output, target, reduction="none"))

    def mean(self, output: Tensor) -> Tensor:
        """sigmoid(output), in (0, 1)."""
        return output.sigmoid()


class SoftmaxCrossEntropy(nn.Module):
    """-sum_i x_i log y_i in nats, y = softmax(output) over all elements of the event: for documents as counts of words.

    Hinton & Salakhutdinov (2006), supporting material, https://doi.org/10.1126/science.1127647: x are the shares of the
    words in a document. With counts instead this is -log p(x|z) of a multinomial but for its coefficient. Its least
    value is not 0 but the entropy of the shares, times the document's length.

    Raises:
        UserError: on targets below 0; looked for where ``CrossEntropy`` does.
    """

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Logits (B, *event_shape), shares or counts of the same shape -> (B,)."""
        if _may_look(target):
            low = target.detach().min().item()
            if not low >= 0.0:
                raise UserError(
                    f"SoftmaxCrossEntropy needs targets of 0 or more (shares or counts), but one is {low:.4g}"
                )
        return -(target.flatten(1) * output.flatten(1).log_softmax(1)).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """softmax(output): shares that sum to 1 over the event."""
        return output.flatten(1).softmax(1).view_as(output)
