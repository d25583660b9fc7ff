import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.callbacks.pictures import image_grid, picture_of, save_picture
from lit_gen.errors import UserError


def test_each_image_lies_in_its_place_rounded_to_the_nearest_level():
    images = torch.rand(5, 3, 40, 33)
    picture = np.asarray(image_grid(images, num_columns=2, padding=1))
    assert picture.shape == (3 * 42, 2 * 35, 3)
    expected = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for number in range(5):
        row, column = divmod(number, 2)
        top, left = row * 42 + 1, column * 35 + 1
        assert (picture[top : top + 40, left : left + 33] == expected[number]).all()
    assert (picture[84:, 35:] == 255).all(), "the sixth place is empty, and white"


def test_grey_images_give_a_grey_picture_and_small_ones_are_enlarged():
    image = torch.linspace(0, 1, 64).view(1, 1, 8, 8)
    picture = image_grid(image, padding=0)
    assert picture.mode == "L" and picture.size == (32, 32)
    assert (np.asarray(picture)[::4, ::4] == (image[0, 0] * 255).round().numpy()).all()


def test_a_grid_is_as_square_as_it_gets():
    assert image_grid(torch.zeros(64, 1, 32, 32), padding=0).size == (256, 256)
    assert image_grid(torch.zeros(5, 1, 32, 32), padding=0).size == (96, 64)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), float("inf")])
def test_values_outside_the_unit_interval_are_refused(bad):
    images = torch.full((2, 1, 4, 4), 0.5)
    images[1, 0, 2, 3] = bad
    with pytest.raises(UserError, match=r"outside \[0, 1\]"):
        image_grid(images)


def test_rounding_beyond_the_unit_interval_is_no_mistake():
    assert np.asarray(image_grid(torch.full((1, 1, 32, 32), 1 + 1e-6), padding=0)).min() == 255


@pytest.mark.parametrize("shape", [(4, 4), (0, 1, 4, 4), (2, 2, 4, 4)])
def test_what_is_no_batch_of_images_is_refused(shape):
    with pytest.raises(UserError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        image_grid(torch.zeros(shape))


def test_shapes_that_cannot_be_drawn_are_named():
    with pytest.raises(UserError, match=r"shape \(3,\) can't be drawn"):
        picture_of(torch.zeros(5, 3))
    with pytest.raises(UserError, match="finite"):
        picture_of(torch.full((5, 2), float("nan")))


def test_a_picture_goes_to_the_run_folder_and_to_loggers_that_take_pictures(make_trainer, tmp_path):
    class Pictures:
        def __init__(self):
            self.got = []

        def log_image(self, key, images, step):
            self.got.append((key, images, step))

    trainer = make_trainer()
    takes = Pictures()
    trainer.loggers = [object(), takes]
    image = image_grid(torch.rand(4, 1, 8, 8))
    save_picture(trainer, "things", image)
    written = Image.open(tmp_path / "samples" / "things_0000000.png")
    assert (np.asarray(written) == np.asarray(image)).all()
    assert takes.got == [("things", [image], 0)]
