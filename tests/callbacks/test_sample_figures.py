"""The samples that ranks share are those of one process, in whatever blocks."""

import types

import pytest
import torch

from lit_gen.callbacks import sample_figures
from lit_gen.callbacks.sample_figures import SampleFigures, count_name, shared_draw
from tests.callbacks.drawing import Draws


@pytest.fixture
def trainer():
    return types.SimpleNamespace(fast_dev_run=False)


def test_ranks_share_the_blocks_of_one_process(trainer, monkeypatch):
    figures, model = SampleFigures(23, batch_size=5), Draws(lambda num: torch.randn(num, 2))
    alone = list(figures.blocks(trainer, model))
    assert [len(block) for block in alone] == [5, 5, 5, 5, 3]
    assert len(torch.cat(alone).unique(dim=0)) == 23
    monkeypatch.setattr(sample_figures, "world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(sample_figures, "rank", lambda rank=rank: rank)
        shared = list(figures.blocks(trainer, model))
        assert len(shared) == 3 - rank
        assert all(torch.equal(a, b) for a, b in zip(shared, alone[rank::2], strict=True))


def test_names_and_draws_of_pictures():
    assert [count_name(count) for count in (2500, 10_000, 26_000, 999)] == ["2500", "10k", "26k", "999"]
    model = Draws(lambda num: torch.randn(num, 2))
    before = torch.get_rng_state()
    a, b = shared_draw(model, 7, 1, batch_size=3), shared_draw(model, 7, 1, batch_size=3)
    assert a.shape == (7, 2) and torch.equal(a, b) and not torch.equal(a, shared_draw(model, 7, 2, batch_size=3))
    assert torch.equal(torch.get_rng_state(), before)
