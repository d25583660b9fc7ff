import pytest
import torch
from torch import nn

from lit_gen.errors import UserError
from lit_gen.metrics.features.base import FeatureExtractor


class Pooled(FeatureExtractor):
    name = "pooled"
    num_features = 3

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.scale = nn.Parameter(torch.ones(3))
        self.freeze()

    def extract(self, x):
        return self.norm(x[:, :1]).mean((1, 2, 3))[:, None] * self.scale


def test_stays_in_evaluation_mode_inside_a_model_that_trains():
    model = nn.ModuleDict({"extractor": Pooled()})
    model.train()
    assert not any(module.training for module in model["extractor"].modules())
    x = torch.rand(4, 1, 5, 5)
    torch.testing.assert_close(model["extractor"](x)[:1], model["extractor"](x[:1]))
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(2, 1, 4, 4) * 2 - 1, "tanh"),
        (torch.rand(2, 1, 4, 4) * 255, "reach from"),
        (torch.full((2, 1, 4, 4), torch.nan), "NaN"),
        (torch.rand(2, 4), r"shape \(2, 4\)"),
        (torch.rand(2, 4, 8, 8), r"shape \(2, 4, 8, 8\)"),
    ],
)
def test_refuses_what_is_not_an_image_in_the_unit_range(x, message):
    with pytest.raises(UserError, match=message):
        Pooled()(x)


def test_one_bad_pixel_is_enough():
    x = torch.rand(3, 1, 4, 4)
    x[1, 0, 2, 2] = -0.01
    with pytest.raises(UserError, match=r"-0\.01"):
        Pooled()(x)


def test_the_borders_and_no_images_at_all_are_fine():
    assert Pooled()(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)).shape == (2, 3)
    assert Pooled()(torch.zeros(0, 1, 4, 4)).shape == (0, 3)


def test_the_fingerprint_follows_the_weights_and_the_name():
    one, same, other = Pooled(), Pooled(), Pooled()
    with torch.no_grad():
        other.scale[1] = 1.0001
    renamed = type("Renamed", (Pooled,), {"name": "renamed"})()
    assert one.fingerprint == same.fingerprint
    assert len({one.fingerprint, other.fingerprint, renamed.fingerprint}) == 3
