"""Networks around a network."""

from torch import Tensor, nn

from lit_gen.protocols import Judged, ReadsFeatures, Reconstructs


class Wrapper(nn.Module):
    """A network within another, which changes what goes in or how it is made, and can do what the inner one can.

    ``features`` and ``from_features``, ``reconstruct``, and ``judge`` are there if the inner network has them, so that
    wrappers can be put around each other in any number.

    Args:
        network: the inner network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name in ("in_shape", "out_shape", "num_packed"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))
        # On the instance: a class with these methods would pass for a network with features whatever is within.
        if isinstance(network, ReadsFeatures):
            self.features, self.from_features = self._features, self._from_features
        if isinstance(network, Reconstructs):
            self.reconstruct = self._reconstruct
        if hasattr(network, "judge"):
            self.judge = self._judge

    def enter(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> what the inner network is given."""
        return x

    def leave(self, y: Tensor, x: Tensor) -> Tensor:
        """What the inner network gives for ``enter(x)``, a row each input -> what belongs to ``x``."""
        return y

    def forward(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, *out_shape)."""
        if isinstance(self.network, ReadsFeatures):
            return self._from_features(self._features(x))
        return self.leave(self.network(self.enter(x)), x)

    def _features(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, F)."""
        return self.leave(self.network.features(self.enter(x)), x)

    def _from_features(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, *out_shape)."""
        return self.network.from_features(features)

    def _reconstruct(self, x: Tensor) -> Tensor:
        """(B, *in_shape) -> (B, *in_shape)."""
        return self.leave(self.network.reconstruct(self.enter(x)), x)

    def _judge(self, x: Tensor) -> Judged:
        """(B, *in_shape) -> scores (B,) and features (B, F), from one pass."""
        judged = self.network.judge(self.enter(x))
        features = None if judged.features is None else self.leave(judged.features, x)
        return Judged(x, self.leave(judged.scores, x), features)
