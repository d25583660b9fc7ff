import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from lit_gen.metrics.psnr import psnr_db


def test_it_is_torchmetrics_own():
    image, reference = torch.randint(0, 256, (2, 30, 20), generator=torch.Generator().manual_seed(0)).byte()
    expected = peak_signal_noise_ratio(image.double(), reference.double(), data_range=255.0)
    assert psnr_db(image, reference) == pytest.approx(float(expected), abs=1e-4)


def test_known_values():
    image = torch.full((4, 4), 100, dtype=torch.uint8)
    assert psnr_db(image, image) == math.inf
    assert psnr_db(image + 1, image) == pytest.approx(48.1308, abs=1e-4)  # 20 log10 255
    assert psnr_db(torch.zeros_like(image), torch.full_like(image, 255)) == pytest.approx(0.0, abs=1e-12)


def test_other_shapes_and_types_are_refused():
    image = torch.zeros(4, 4, dtype=torch.uint8)
    for other in (image[:1], image.float()):
        with pytest.raises(ValueError, match="two equal uint8 shapes"):
            psnr_db(image, other)
