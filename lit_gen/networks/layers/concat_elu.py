"""The concatenated exponential linear unit."""

import torch
from torch import Tensor
from torch.nn import functional as F


def concat_elu(x: Tensor) -> Tensor:
    """ELU of x and of -x: (B, C, …) -> (B, 2 C, …).

    The concatenated rectifier of Shang et al., Understanding and Improving Convolutional Neural Networks via
    Concatenated Rectified Linear Units (2016), Eq. 1, https://arxiv.org/abs/1603.05201, with ELU in the rectifier's
    place, as PixelCNN++ has it.
    """
    return F.elu(torch.cat([x, -x], 1), inplace=True)
