"""LeNet-5, with max pooling and ReLU where the original has subsampling and tanh."""

from torch import Tensor, nn

from lit_gen.ranges import check_at_least


class LeNet(nn.Module):
    """Classifies 28x28 grey images; 61,706 parameters with ten classes.

    LeCun, Bottou, Bengio & Haffner, Gradient-Based Learning Applied to Document Recognition (1998), Fig. 2,
    https://doi.org/10.1109/5.726791

    ``features`` maps (B, 1, 28, 28) in [0, 1] to the (B, 84) activations before the last layer, ``classifier`` those to
    logits.

    Args:
        num_classes: number of classes.
        dropout: probability with which a feature is dropped in training.

    Raises:
        UserError: no classes.
    """

    def __init__(self, num_classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        check_at_least(self, 1, num_classes=num_classes)
        # lit_gen.metrics.features.lenet holds the same layers under the same names, for a metric doesn't know the
        # networks; a test keeps the two together.
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
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(84, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 28, 28), pixels in [0, 1] -> (B, num_classes) logits."""
        return self.classifier(self.features(x))
