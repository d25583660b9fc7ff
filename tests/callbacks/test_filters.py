import pytest
import torch
from PIL import Image

from lit_gen.callbacks.filters import Filters, signed_images
from lit_gen.callbacks.pictures import image_grid
from lit_gen.errors import UserError
from tests.callbacks.shown import shows


@pytest.fixture
def filtering_model(linear_model):
    class Filtering(linear_model):
        def filters(self):
            return self.encoder.weight.view(-1, *self.event_shape)

    return Filtering


def test_each_filter_has_its_own_scale_about_mid_grey():
    x = torch.tensor([[0.0, 2.0, -1.0, 1.0], [0.0, -0.01, 0.005, 0.0], [0.0, 0.0, 0.0, 0.0]]).view(3, 1, 2, 2)
    expected = torch.tensor([[0.5, 1.0, 0.25, 0.75], [0.5, 0.0, 0.75, 0.5], [0.5, 0.5, 0.5, 0.5]]).view(3, 1, 2, 2)
    torch.testing.assert_close(signed_images(x), expected)


def test_colours_go_from_blue_through_white_to_red():
    pixels = signed_images(torch.tensor([-3.0, 0.0, 3.0, 1.5]).view(1, 1, 2, 2), diverging=True)
    blue, white, red, pale_red = pixels[0].flatten(1).T.tolist()
    assert blue == [0.0, 0.0, 1.0]
    assert white == [1.0, 1.0, 1.0]
    assert red == [1.0, 0.0, 0.0]
    assert pale_red == [1.0, 0.5, 0.5]


def test_filters_of_coloured_images_keep_their_channels():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(signed_images(x, diverging=True), signed_images(x))


@pytest.mark.parametrize("diverging", [False, True])
def test_picture_of_the_first_filters(make_trainer, filtering_model, small_data, tmp_path, diverging):
    model = filtering_model(dim=5)
    make_trainer(Filters(num_filters=4, diverging=diverging), max_epochs=1).fit(model, small_data(num=16))
    picture = Image.open(tmp_path / "samples" / "filters_0000002.png")
    assert shows(picture, image_grid(signed_images(model.filters()[:4].detach(), diverging)))
    assert picture.mode == ("RGB" if diverging else "L")


def test_every_nth_epoch_and_at_the_start_if_asked(make_trainer, filtering_model, small_data, tmp_path):
    make_trainer(Filters(every_n_epochs=2, at_start=True), max_epochs=3).fit(filtering_model(), small_data())
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "filters_0000000.png",
        "filters_0000006.png",
        "filters_0000009.png",  # of the final model
    ]


def test_what_has_no_filters_or_no_images_is_refused_at_once(make_trainer, linear_model, filtering_model, small_data):
    with pytest.raises(UserError, match=r"Filters needs a model with filters\(\), which a LinearModel hasn't"):
        make_trainer(Filters()).fit(linear_model(), small_data())
    with pytest.raises(UserError, match=r"examples of shape \(2,\) aren't"):
        make_trainer(Filters()).fit(filtering_model((2,)), small_data((2,)))
    with pytest.raises(UserError, match="num_filters of at least 1, got 0"):
        Filters(num_filters=0)
