"""A network whose features can be asked for."""

from torch import Tensor, nn


class FeatureNetwork(nn.Module):
    """One network that gives features and one that reads the output off them: a discriminator, a classifier.

    Args:
        trunk: (B, *in_shape) -> the features, (B, F).
        head: (B, F) -> (B, *out_shape).
    """

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def features(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, F)."""
        return self.trunk(x)

    def from_features(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, *out_shape)."""
        return self.head(features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, *out_shape)."""
        return self.from_features(self.features(x))
