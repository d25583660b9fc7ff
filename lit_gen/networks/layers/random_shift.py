"""Small random translations, the augmentation that digits need."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_gen.ranges import check_at_least


class RandomShift(nn.Module):
    """In training, moves each image by up to ``max_pixels`` up or down and left or right; in evaluation, nothing.

    Every image of a batch has a shift of its own, uniform over the (2 max_pixels + 1)^2 whole-pixel ones; what moves in
    from outside is ``fill``.

    Raises:
        UserError: a negative number of pixels.
    """

    def __init__(self, max_pixels: int, fill: float = 0.0) -> None:
        super().__init__()
        check_at_least(self, 0, max_pixels=max_pixels)
        self.max_pixels = max_pixels
        self.fill = fill

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training or self.max_pixels == 0:
            return x
        batch, _, height, width = x.shape
        margin = self.max_pixels
        padded = F.pad(x, (margin, margin, margin, margin), value=self.fill)
        corner = torch.randint(0, 2 * margin + 1, (2, batch, 1), device=x.device)
        rows = corner[0] + torch.arange(height, device=x.device)  # (B, H)
        columns = corner[1] + torch.arange(width, device=x.device)  # (B, W)
        example = torch.arange(batch, device=x.device)[:, None, None]
        # Advanced indices on both sides of the slice put their dimensions first: (B, H, W, C).
        return padded[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
