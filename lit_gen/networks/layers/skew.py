"""Maps whose diagonals are columns.

van den Oord, Kalchbrenner & Kavukcuoglu, Pixel Recurrent Neural Networks (2016), Section 3.2 and Figure 3,
https://arxiv.org/abs/1601.06759
"""

from torch import Tensor
from torch.nn import functional as F


def skew(x: Tensor) -> Tensor:
    """(..., H, W) -> (..., H, W + H - 1): row i moved i places to the right, zeros where nothing is.

    Column t is the diagonal of the cells (i, t - i).
    """
    height, width = x.shape[-2:]
    length = width + height - 1
    # Rows that are one longer than they are read as: each begins one place later than the row before.
    return F.pad(x, (0, height)).flatten(-2)[..., : height * length].unflatten(-1, (height, length))


def unskew(x: Tensor) -> Tensor:
    """(..., H, W + H - 1) -> (..., H, W): undoes ``skew``."""
    height, length = x.shape[-2:]
    rows = F.pad(x.flatten(-2), (0, height)).unflatten(-1, (height, length + 1))
    return rows[..., : length - height + 1]
