"""Binarization: the right frequencies, fresh where it should be, and the same where it must be."""

import pytest
import torch

from lit_gen.data.binarization import DynamicBinarization, check_binarization, draw_once, threshold
from lit_gen.data.loader import Examples, Place, TrainingLoader
from lit_gen.errors import UserError


def ramp(count: int) -> torch.Tensor:
    """(count, 256) bytes: every grey value in every image."""
    return torch.arange(256, dtype=torch.uint8).repeat(count, 1)


def check_frequencies(drawn: torch.Tensor) -> None:
    """``drawn``: (N, 256) zeros and ones, column v drawn with probability v / 255."""
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    p = torch.arange(256, dtype=torch.float64) / 255
    assert torch.equal(drawn[:, 0], torch.zeros(len(drawn))) and torch.equal(drawn[:, 255], torch.ones(len(drawn)))
    z = (drawn.double().mean(0) - p)[1:255] / (p * (1 - p) / len(drawn)).sqrt()[1:255]
    assert z.abs().max() < 5  # 254 standard normals: exceeded once in 7,000 streams
    assert 0.75 < z.square().mean() < 1.25  # and as spread out as they should be: neither correlated nor too even


def test_dynamic_draws_white_with_the_grey_value_as_probability():
    x = ramp(4000).float().div(255)
    check_frequencies(DynamicBinarization(0)(x.clone(), Place(0, 0, 0, 1)))


def test_fixed_draws_white_with_the_grey_value_as_probability():
    check_frequencies(draw_once(ramp(4000), 0).float().div(255))
    drawn = draw_once(ramp(1100), 0)
    assert torch.equal(drawn, draw_once(ramp(1100), 0))  # also past one chunk of noise
    assert torch.equal(drawn, draw_once(ramp(1100).float() / 255, 0))
    assert not torch.equal(drawn, draw_once(ramp(1100), 1))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[:100], drawn[1000:])  # chunks have noise of their own


def test_pixels_and_draws_are_independent():
    grey = torch.full((20_000, 4), 0.5)
    a = DynamicBinarization(0)(grey.clone(), Place(0, 0, 0, 1)).double()
    b = DynamicBinarization(0)(grey.clone(), Place(0, 1, 0, 1)).double()
    correlation = torch.corrcoef(torch.cat([a, b], dim=1).T) - torch.eye(8)
    assert correlation.abs().max() < 5 / 20_000**0.5


def test_dynamic_is_fresh_at_each_place_and_the_same_at_the_same_place():
    def draw(seed, *place):
        return DynamicBinarization(seed)(torch.full((3, 64), 0.5), Place(*place))

    here = draw(0, 1, 2, 0, 1)
    assert torch.equal(here, draw(0, 1, 2, 0, 1))
    for other in (draw(1, 1, 2, 0, 1), draw(0, 2, 2, 0, 1), draw(0, 1, 1, 0, 1), draw(0, 1, 2, 1, 2)):
        assert not torch.equal(here, other)


def test_dynamic_epochs_differ_and_a_resumed_stream_draws_what_the_unbroken_one_does():
    def loader(rank=0, world_size=1):
        grey = Examples(torch.full((8, 1, 4, 4), 128, dtype=torch.uint8))
        return TrainingLoader(grey, 4, transform=DynamicBinarization(7), rank=rank, world_size=world_size)

    unbroken = loader()
    stream = [batch for _ in range(2) for batch in unbroken]
    by_example = [
        torch.cat([b.x for b in s])[torch.cat([b.index for b in s]).argsort()] for s in (stream[:2], stream[2:])
    ]
    assert not (by_example[0] == by_example[1]).flatten(1).all(1).any()
    resumed = loader()
    resumed.load_state_dict({"epoch": 1, "batch": 1})
    assert torch.equal(next(iter(resumed)).x, stream[3].x)
    parts = [list(loader(rank, 2)) for rank in range(2)]
    for batch, even, odd in zip(stream[:2], *parts, strict=True):
        assert torch.equal(torch.stack([even.x, odd.x], 1).flatten(0, 1), batch.x)


def test_threshold_is_white_from_one_half_on():
    assert threshold(torch.tensor([[0, 127, 128, 255]], dtype=torch.uint8)).tolist() == [[0, 0, 255, 255]]
    assert threshold(torch.tensor([[0.0, 0.49, 0.5, 1.0]])).tolist() == [[0, 0, 255, 255]]


def test_an_unknown_name_is_refused_with_the_nearest():
    assert check_binarization("dynamic") == "dynamic"
    with pytest.raises(UserError, match=r"'dynamc'.*'dynamic'"):
        check_binarization("dynamc")
    with pytest.raises(UserError, match="none, threshold, fixed, dynamic"):
        check_binarization("?")
