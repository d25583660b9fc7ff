"""The recurrent layers of a PixelRNN.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Sections 3.1-3.4 and Table 1,
https://arxiv.org/abs/1601.06759
"""

import torch
from torch import Tensor, nn

from lit_gen.networks.layers.class_bias import ClassBiases, add_to_images
from lit_gen.networks.layers.line_lstm import LineLSTM
from lit_gen.networks.layers.masked_conv import MaskedConv2d
from lit_gen.networks.layers.skew import skew, unskew


class RecurrentLayer(nn.Module):
    """Base: an LSTM of h units with a residual connection about it, (B, 2 h, H, W) -> (B, 2 h, H, W); Section 3.3.

    The input-to-state map is a masked convolution for all of the image at once. Only that and the way back to 2 h
    features order the channels of a pixel: an LSTM's earlier states belong to pixels of which all is known.

    Args:
        hidden: h.
        num_groups: channels of the image, among which features are divided.
        num_classes: number of classes, each with a bias of its own to the input-to-state map; None for none.
        condition_features: features of a map that biases the input-to-state map (Section 3.6); None for none.
        input_columns: columns of the input-to-state kernel, of one row.
        lstm: goes through the map.
    """

    def __init__(
        self,
        hidden: int,
        num_groups: int,
        num_classes: int | None,
        condition_features: int | None,
        input_columns: int,
        lstm: LineLSTM,
    ) -> None:
        super().__init__()
        parts = 4 * len(lstm.weight)
        self.input_to_state = MaskedConv2d(
            2 * hidden, parts * hidden, (1, input_columns), "B", num_groups, num_parts=parts
        )
        self.lstm = lstm
        self.output = MaskedConv2d(hidden, 2 * hidden, 1, "B", num_groups)
        self.class_bias = ClassBiases(num_classes, 1, parts * hidden)
        self.condition = None
        if condition_features is not None:
            self.condition = nn.Conv2d(condition_features, parts * hidden, 1, bias=False)

    def context(self, label: Tensor | None, condition: Tensor | None) -> Tensor | None:
        """Class indices (B,) and a map (B, F, H, W) -> their bias to the gates, (B, gates, H, W) or less."""
        (bias,) = self.class_bias.of(label)
        if self.condition is not None:
            return add_to_images(self.condition(condition), bias)
        return None if bias is None else bias[:, :, None, None]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, 2 h, H, W), and what else biases the gates -> (B, 2 h, H, W)."""
        gates = self.input_to_state(x)
        return x + self.output(self.states(gates if context is None else gates + context))

    def states(self, gates: Tensor) -> Tensor:
        """What the input adds to the gates, (B, gates, H, W) -> states (B, h, H, W)."""
        raise NotImplementedError


class RowLSTMLayer(RecurrentLayer):
    """Goes through the image row by row, each state from its neighbours in the row above; Section 3.1.

    Args:
        hidden: h.
        num_groups: as in ``RecurrentLayer``.
        num_classes: as in ``RecurrentLayer``.
        condition_features: as in ``RecurrentLayer``.
        columns: k, odd: columns of both kernels.
    """

    def __init__(
        self, hidden: int, num_groups: int, num_classes: int | None, condition_features: int | None, columns: int = 3
    ) -> None:
        lstm = LineLSTM(hidden, columns // 2, columns // 2)
        super().__init__(hidden, num_groups, num_classes, condition_features, columns, lstm)

    def states(self, gates: Tensor) -> Tensor:
        """(B, 4 h, H, W) -> (B, h, H, W)."""
        rows = _examples_last(gates).transpose(0, 1).unsqueeze(1)  # (H, 1, 4 h, W, B)
        return _examples_first(self.lstm(rows).squeeze(1).transpose(0, 1))


class DiagonalBiLSTMLayer(RecurrentLayer):
    """Goes through the image from both upper corners, diagonal by diagonal, each state from its neighbours beside and
    above; Section 3.2.

    The states that come from the right are handed on one row further down, where all that they have seen is known.
    Of the gates the first 4 h are those of the LSTM from the left.
    """

    def __init__(self, hidden: int, num_groups: int, num_classes: int | None, condition_features: int | None) -> None:
        lstm = LineLSTM(hidden, before=1, after=0, num_directions=2)
        super().__init__(hidden, num_groups, num_classes, condition_features, 1, lstm)

    def states(self, gates: Tensor) -> Tensor:
        """(B, 8 h, H, W) -> (B, h, H, W), both directions added."""
        # both directions' gates are features of one map, that from the right in a mirror
        from_left, from_right = _examples_last(gates).chunk(2)  # (4 h, H, W, B)
        diagonals = skew(torch.cat([from_left, from_right.flip(2)])).unflatten(1, (2, -1))
        from_left, from_right = unskew(self.lstm(diagonals).flatten(1, 2)).chunk(2)  # (h, H, W, B)
        below = nn.functional.pad(from_right[:, :-1].flip(2), (0, 0, 0, 0, 1, 0))
        return _examples_first(from_left + below)


def _examples_last(x: Tensor) -> Tensor:
    """(B, F, H, W) -> (F, H, W, B): lines of cells in one piece of memory, examples and all."""
    return x.flatten(1).T.contiguous().view(*x.shape[1:], len(x))


def _examples_first(x: Tensor) -> Tensor:
    """(F, H, W, B) -> (B, F, H, W)."""
    return x.flatten(0, 2).T.contiguous().view(-1, *x.shape[:3])
