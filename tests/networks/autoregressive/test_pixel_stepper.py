"""What the steppers of PixelCNNs share."""

from contextlib import nullcontext

import pytest
import torch

from lit_gen.networks.autoregressive.pixel_stepper import FEW_IMAGES, PixelStepper, one_thread, shift
from lit_gen.networks.autoregressive.pixelcnn import PixelCNN


def test_rows_move_up_and_the_last_stays():
    buffer = torch.arange(24.0).view(2, 4, 3)
    before = buffer.clone()
    shift(buffer, 1)
    assert torch.equal(buffer[:, :3], before[:, 1:])
    assert torch.equal(buffer[:, 3], before[:, 3])


def test_a_step_gives_back_the_threads_that_it_does_without():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        PixelCNN((1, 3, 3), channels=2, num_blocks=1, head_channels=2).eval().stepper(2)(None)
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError), one_thread():
            assert torch.get_num_threads() == 1
            _ = 1 / 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_only_few_images_on_a_cpu_do_without_threads():
    network = PixelCNN((1, 3, 3), channels=2, num_blocks=1, head_channels=2)
    few, many = PixelStepper(network, FEW_IMAGES, 1), PixelStepper(network, FEW_IMAGES + 1, 1)
    elsewhere = PixelStepper(network.to("meta"), 1, 1)
    assert few.threads is one_thread
    assert many.threads is elsewhere.threads is nullcontext
