"""Which digit an image shows: the whole of the LeNet whose features come with the package."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lit_gen.errors import UserError
from lit_gen.metrics.features.base import check_images
from lit_gen.metrics.features.lenet import PACKAGED_WEIGHTS, LeNet


class DigitClassifier(nn.Module):
    """Classes of grey images of digits, by a LeNet trained on MNIST (``conf/classifiers/lenet_mnist.yaml``).

    Args:
        weights: safetensors file of a ``lit_gen.networks.LeNet``; None takes the packaged ones.

    Raises:
        UserError: if the file is missing, isn't such a file or has no last layer.
    """

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.extractor = LeNet(weights)
        file = PACKAGED_WEIGHTS if weights is None else Path(weights)
        state = load_file(file)
        names = ("classifier.1.weight", "classifier.1.bias")
        if not all(name in state for name in names):
            raise UserError(f"{file} holds no LeNet's last layer ({', '.join(names)}).")
        weight, bias = (state[name] for name in names)
        with torch.device("meta"):  # no initial weights drawn: building it doesn't shift the model's
            self.classifier = nn.Linear(weight.shape[1], weight.shape[0])
        self.classifier.load_state_dict({"weight": weight, "bias": bias}, assign=True)
        self.num_classes = len(bias)
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) in [0, 1] -> (B,) int64 classes."""
        return self.classifier(self.extractor(x)).argmax(1)

    def stacked(self, x: Tensor) -> Tensor:
        """Classes of images whose channels are digits: (B, 3, H, W) in [0, 1] -> (B,) int64, 100 a + 10 b + c.

        Raises:
            UserError: images that haven't three channels.
        """
        check_images(x)
        if x.shape[1] != 3:
            raise UserError(f"stacked digits are images (B, 3, H, W), not of shape {tuple(x.shape)}.")
        digit = self(x.flatten(0, 1)[:, None]).view(-1, 3)
        return (digit * digit.new_tensor([self.num_classes**2, self.num_classes, 1])).sum(1)
