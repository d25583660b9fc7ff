"""The distance from a known quantile function, on maps that are right, shifted, and the wrong way around."""

import types

import pytest
import torch
from PIL import Image

from lit_gen.callbacks.quantile_error import QuantileError, in_order
from lit_gen.data.pushforward import InverseNormalCDF, Pushforward
from lit_gen.data.toy import GaussianMixture, Ring
from lit_gen.errors import UserError
from tests.callbacks.drawing import Draws

SMALL = {"num_train": 64, "num_validation": 32, "num_test": 32, "batch_size": 32}
G = InverseNormalCDF(1.0, 2.0)


class Maps(Draws):
    """x = function(z) of z uniform in (0, 1)."""

    def __init__(self, function, dim: int = 1) -> None:
        super().__init__(lambda num: self.from_latents(self.draw_latents(num)))
        self.function = function
        self.dim = dim

    def draw_latents(self, num):
        return torch.rand(num, self.dim).clamp_min(1e-9)

    def from_latents(self, z):
        return self.function(z)


def measured(make_trainer, function, dim: int = 1, num_samples: int = 2000) -> float:
    callback = QuantileError(num_samples)
    (figures,) = make_trainer(callback).test(Maps(function, dim), Pushforward(G, **SMALL), verbose=False)
    (name,) = callback.protocols
    assert name == "test/wasserstein1_2k"
    assert callback.protocols[name] == "from the exact quantile function; 2000 samples; noise seed 0"
    return figures[name]


def test_the_right_map_is_near_and_a_wrong_one_as_far_as_it_is_off(make_trainer):
    right = measured(make_trainer, G)
    assert 0 < right < 0.2
    assert measured(make_trainer, lambda z: G(1 - z)) < 0.2  # orientation is no error
    assert measured(make_trainer, lambda z: G(z) + 3) == pytest.approx(3, abs=0.2)
    assert measured(make_trainer, lambda z: torch.ones_like(z)) == pytest.approx(2 * 0.79788, abs=1e-4)
    assert measured(make_trainer, lambda z: G(z[:, :1]), dim=3) < 0.2


def test_a_picture_at_validation_and_a_figure(make_trainer, tmp_path):
    trainer = make_trainer(QuantileError(100), max_epochs=2)
    trainer.fit(Maps(G), Pushforward(G, **SMALL))
    assert trainer.callback_metrics["val/wasserstein1_100"] > 0
    pictures = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert pictures == ["quantiles_0000002.png", "quantiles_0000004.png"]
    width, height = Image.open(tmp_path / "samples" / pictures[0]).size
    assert width == 1200 and height > 500


def test_samples_lie_by_their_latents_whichever_way():
    z = torch.rand(50, 1, generator=torch.Generator().manual_seed(0))
    x = z**2 + 0.3 * (z > 0.5) - 0.2 * (z > 0.7)  # not monotone: order by latents isn't order by value
    by_latents = x.flatten()[z.flatten().argsort()]
    assert torch.equal(in_order(z, x), by_latents) and not torch.equal(by_latents, x.flatten().sort().values)
    assert torch.equal(in_order(z, -x), -by_latents.flip(0))
    assert torch.equal(in_order(torch.cat([z, z], 1), x), x.flatten().sort().values)


def test_what_does_not_fit_is_refused():
    line = Pushforward(G, **SMALL)
    mixture = GaussianMixture([[0.0]], 1.0, event_shape=(1,), **SMALL)
    for model, data, match in (
        (Draws(lambda num: torch.rand(num, 1)), line, "against their latents, of which a Draws has none"),
        (Maps(G), Ring(**SMALL), "data of one number whose quantile function is known, as Pushforward, not Ring"),
        (Maps(G), mixture, "not GaussianMixture"),
    ):
        with pytest.raises(UserError, match=match):
            QuantileError().setup(types.SimpleNamespace(datamodule=data), model, "fit")
