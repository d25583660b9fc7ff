"""Pictures of a discriminator: where it is asked, what is drawn, what is refused."""

import pytest
import torch

from lit_gen.callbacks import discriminator_surface as room
from lit_gen.callbacks.discriminator_surface import DiscriminatorSurface
from lit_gen.data.digits import Digits
from lit_gen.data.toy import GaussianMixture, Ring
from lit_gen.errors import UserError
from tests.callbacks.drawing import Draws, Judges

SMALL = {"num_train": 64, "num_validation": 40, "num_test": 16, "batch_size": 32}
RING = Ring(**SMALL)
LINE = GaussianMixture([[0.0], [4.0]], [0.5, 1.0], event_shape=(1,), **SMALL)


@pytest.fixture
def drawn(monkeypatch):
    """What the charts were given."""
    given = []
    for name in ("surface", "curves_and_samples"):
        chart = getattr(room, name)
        monkeypatch.setattr(room, name, lambda *args, chart=chart: given.append(args) or chart(*args))
    return given


def test_in_the_plane_each_place_has_its_own_value(make_trainer, drawn, tmp_path):
    model = Judges(RING.sample, lambda x: x[:, 0] + 10 * x[:, 1])
    make_trainer(DiscriminatorSurface(num_points=30, resolution=7, every_n_epochs=2), max_epochs=4).fit(model, RING)
    names = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert names == [f"discriminator_{step:07}.png" for step in (0, 4, 8)]
    horizontal, vertical, values, real, fake, name = drawn[0]
    assert name == "D(x)" and real.shape == fake.shape == (30, 2)
    assert torch.allclose(values, (horizontal[None] + 10 * vertical[:, None]).sigmoid())
    assert float(horizontal[0]) < -1.2 and float(horizontal[-1]) > 1.2  # beyond the ring
    assert set(model.seen) == {(False, False)}


def test_on_the_line_with_the_data_s_density(make_trainer, drawn, tmp_path):
    model = Judges(LINE.sample, lambda x: 3 * x[:, 0], logits=False)
    make_trainer(DiscriminatorSurface(resolution=50), max_epochs=1).fit(model, LINE)
    at, curves, real, fake, right = drawn[0]
    assert torch.allclose(right["score"], 3 * at)
    assert torch.equal(curves["data's density"], LINE.log_prob(at[:, None]).exp())
    assert real.shape == (40,) and fake.shape == (1000,)
    assert all(file.stat().st_size > 5000 for file in (tmp_path / "samples").iterdir())


def test_a_density_that_is_not_known(make_trainer, drawn, small_data):
    data = small_data((1,))
    data.num_examples = lambda split: 24
    make_trainer(DiscriminatorSurface(at_start=False), max_epochs=1).fit(
        Judges(lambda num: torch.randn(num, 1), lambda x: x[:, 0]), data
    )
    ((_, curves, _, _, right),) = drawn
    assert curves == {} and set(right) == {"D(x)"}


def test_what_is_refused(make_trainer):
    for kwargs in ({"every_n_epochs": 0}, {"num_points": 0}, {"resolution": 1}):
        with pytest.raises(UserError, match=next(iter(kwargs))):
            DiscriminatorSurface(**kwargs)
    digits = Digits()
    for model, data, match in (
        (Draws(RING.sample), RING, "asks a discriminator"),
        (Judges(lambda num: torch.rand(num, 1, 8, 8), torch.sum), digits, r"shape \(1, 8, 8\)"),
        (Judges(RING.sample, lambda x: x[::2, 0]), RING, "judges several at once"),
        (Judges(RING.sample, lambda x: x[:, 0] * torch.nan), RING, "diverged"),
    ):
        with pytest.raises(UserError, match=match):
            make_trainer(DiscriminatorSurface()).fit(model, data)
