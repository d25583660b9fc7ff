"""Features of small grey images, from weights that come with the package."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.errors import UserError
from lit_gen.metrics.features.base import FeatureExtractor

PACKAGED_WEIGHTS = Path(__file__).with_name("lenet_mnist.safetensors")

# ITU-R BT.601 luma, as in Pillow's conversion to grey.
LUMA = (0.299, 0.587, 0.114)


class LeNet(FeatureExtractor):
    """The 84 activations before the last layer of a LeNet trained on MNIST (``conf/classifiers/lenet_mnist.yaml``).

    Images of another size are resized to 28x28 (bilinear, antialiased), colours turned into luma. The distances say
    something of digits and of what looks like them; compare them with other figures of this extractor alone.

    Args:
        weights: safetensors file of a ``lit_gen.networks.LeNet``; None takes the packaged ones.

    Raises:
        UserError: if the file is missing or isn't such a file.
    """

    name = "lenet"
    num_features = 84

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        # The layers and names of lit_gen.networks.lenet, which a metric doesn't know. On the meta device they draw no
        # initial weights, so building the extractor doesn't shift the model's.
        with torch.device("meta"):
            self.features = nn.Sequential(
                nn.Conv2d(1, 6, kernel_size=5, padding=2),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 16, kernel_size=5),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(16 * 5 * 5, 120),
                nn.ReLU(),
                nn.Linear(120, 84),
                nn.ReLU(),
            )
        file = PACKAGED_WEIGHTS if weights is None else Path(weights)
        try:
            state = {key: value for key, value in load_file(file).items() if key.startswith("features.")}
            self.load_state_dict(state, assign=True)
        except FileNotFoundError:
            raise UserError(f"There are no LeNet weights at {file}; 'weights: null' takes the packaged ones.") from None
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{file} isn't a safetensors file of a LeNet's weights ({reason}).") from None
        self.freeze()

    def extract(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, 84)."""
        x = x.float()
        if x.shape[1] == 3:
            x = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        if x.shape[2:] != (28, 28):
            x = F.interpolate(x, size=(28, 28), mode="bilinear", antialias=True, align_corners=False)
        return self.features(x)
