import numpy as np
import pytest
import torch
from PIL import Image

from lit_gen.callbacks.pictures import image_grid, picture_of, save_picture
from lit_gen.errors import UserError
from tests.callbacks.shown import shows


def test_each_image_lies_in_its_place_rounded_to_the_nearest_level():
    images = torch.rand(5, 3, 70, 65)
    picture = np.asarray(image_grid(images, num_columns=2, padding=1))
    assert picture.shape == (3 * 72, 2 * 67, 3)
    expected = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for number in range(5):
        row, column = divmod(number, 2)
        top, left = row * 72 + 1, column * 67 + 1
        assert (picture[top : top + 70, left : left + 65] == expected[number]).all()
    assert (picture[144:, 67:] == 255).all(), "the sixth place is empty, and white"


def test_grey_images_give_a_grey_picture_and_small_ones_are_enlarged():
    image = torch.linspace(0, 1, 64).view(1, 1, 8, 8)
    picture = image_grid(image, padding=0)
    assert picture.mode == "L" and picture.size == (64, 64)
    assert (np.asarray(picture)[::8, ::8] == (image[0, 0] * 255).round().numpy()).all()


def test_a_grid_is_as_square_as_it_gets():
    assert image_grid(torch.zeros(64, 1, 64, 64), padding=0).size == (512, 512)
    assert image_grid(torch.zeros(5, 1, 64, 64), padding=0).size == (192, 128)


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
    save_picture(trainer, "things", image, "four things")
    written = Image.open(tmp_path / "samples" / "things_0000000.png")
    assert shows(written, image) and written.height > image.height, "below its title"
    ((key, (logged,), step),) = takes.got
    assert (key, step) == ("things", 0)
    assert (np.asarray(logged) == np.asarray(written)).all()


def test_enlargement_ends_where_a_screen_does():
    assert image_grid(torch.zeros(400, 1, 8, 8), padding=0).size == (1280, 1280)
    assert image_grid(torch.zeros(2500, 1, 8, 8)).size == (50 * 28, 50 * 28), "three times: 1600 and no more"
    assert image_grid(torch.zeros(60, 1, 8, 8), 2).size[1] <= 1600
    assert image_grid(torch.zeros(1, 1, 2, 2000)).size == (2004, 6), "never made smaller"
    assert image_grid(torch.zeros(4, 1, 8, 8), scale=3).size == (56, 56)


def test_what_no_viewer_opens_is_refused_before_it_is_laid_out():
    with pytest.raises(UserError, match="grid of 1,000,000 images of 8 x 8 has 144 million pixels"):
        image_grid(torch.zeros(1, 1, 8, 8).expand(1_000_000, 1, 8, 8))
    with pytest.raises(UserError, match="2,000,000 points"):
        picture_of(torch.zeros(1, 2).expand(2_000_000, 2))
