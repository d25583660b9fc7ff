"""The last layers of a PixelCNN or PixelRNN."""

import torch
from torch import Tensor, nn

from lit_gen.networks.layers.masked_conv import MaskedConv2d


class PixelHead(nn.Module):
    """From features to parameters, pixel by pixel: (B, in_channels, H, W) -> (B, P, num_groups, H, W).

    ReLU and a 1 x 1 convolution under mask B, twice: van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural
    Networks (2016), Table 1, https://arxiv.org/abs/1601.06759

    Args:
        in_channels: features that come in.
        hidden_channels: features between the two convolutions.
        params_per_output: P.
        num_groups: number of the image's channels that are told one after the other; 1 if they aren't.
    """

    def __init__(self, in_channels: int, hidden_channels: int, params_per_output: int, num_groups: int) -> None:
        super().__init__()
        self.hidden = MaskedConv2d(in_channels, hidden_channels, 1, "B", num_groups)
        self.out = MaskedConv2d(hidden_channels, num_groups * params_per_output, 1, "B", num_groups)
        self.num_groups = num_groups

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, P, num_groups, H, W)."""
        params = self.out(self.hidden(x.relu()).relu())
        return params.unflatten(1, (self.num_groups, -1)).transpose(1, 2)


class HeadByGroup:
    """A ``PixelHead`` for one pixel of ``num`` images at a time, group by group.

    Args:
        head: the head.
        num: number of images.
    """

    def __init__(self, head: PixelHead, num: int) -> None:
        self.hidden, self.out = head.hidden.row_taps(), head.out.row_taps()
        self.hidden_bias, self.out_bias = (
            [layer.bias.detach()[taps.features] for taps in layer.row_taps()] for layer in (head.hidden, head.out)
        )
        weight = head.hidden.weight
        self.features = weight.new_zeros(num, head.hidden.in_channels)
        self.hidden_features = weight.new_zeros(num, head.hidden.out_channels)

    def __call__(self, features: Tensor, group: int) -> Tensor:
        """A group's features (N, F) of the pixel -> its parameters (N, P)."""
        for bias, taps, known in (
            (self.hidden_bias[group], self.hidden[group].weight, self.features),
            (self.out_bias[group], self.out[group].weight, self.hidden_features),
        ):
            seen = known[:, : len(taps)]
            torch.clamp_min(features, 0, out=seen[:, -features.shape[1] :])
            features = torch.addmm(bias, seen, taps)
        return features
