"""The strip of a run's samples, whole or resumed."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lit_gen.callbacks import sample_strip as room
from lit_gen.callbacks.sample_strip import SampleStrip
from lit_gen.data.digits import Digits
from lit_gen.data.toy import GaussianMixture, Ring
from lit_gen.errors import UserError
from tests.callbacks.drawing import Draws

SMALL = {"num_train": 80, "num_validation": 40, "num_test": 16, "batch_size": 10}


@pytest.fixture
def pictures(monkeypatch):
    """The panels of each picture."""
    given, strip = [], room.strip
    monkeypatch.setattr(room, "strip", lambda panels: given.append(panels) or strip(panels))
    return given


def run(make_trainer, *callbacks, steps, data=None, **kwargs):
    data = data or Ring(**SMALL)
    make_trainer(*callbacks, max_steps=steps, max_epochs=-1, limit_val_batches=0).fit(
        Draws(data.sample, step=1.0), data, **kwargs
    )


def test_a_panel_a_step_after_the_data_s(make_trainer, pictures, tmp_path):
    run(make_trainer, SampleStrip([0, 3, 5], num_points=70), steps=7)
    names = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert names == [f"sample_strip_{step:07}.png" for step in (0, 3, 5, 7)]
    assert [list(panels) for panels in pictures] == [
        ["data", "step 0"],
        ["data", "step 0", "step 3"],
        ["data", "step 0", "step 3", "step 5"],
        ["data", "step 0", "step 3", "step 5", "step 7"],
    ]
    data, *kept = pictures[-1].values()
    assert data.shape == (40, 2) and all(x.shape == (70, 2) for x in kept)
    assert torch.allclose(kept[0] - 7, kept[3], atol=1e-5)
    # The same noise, and each step of training moves the model by -1.
    assert torch.allclose(kept[0] - 3, kept[1], atol=1e-5) and torch.allclose(kept[0] - 5, kept[2], atol=1e-5)


def test_at_the_end_nothing_is_written_twice(make_trainer, pictures):
    run(make_trainer, SampleStrip([4]), steps=4)
    assert len(pictures) == 1


def test_a_resumed_run_s_strip_is_whole(make_trainer, pictures, tmp_path):
    run(make_trainer, SampleStrip([0, 3, 9]), steps=9)
    whole = pictures[-1]
    options = {"enable_checkpointing": True}

    def with_checkpoints(*args, **kwargs):
        return make_trainer(*args, **kwargs | options)

    run(
        with_checkpoints,
        SampleStrip([0, 3, 9]),
        ModelCheckpoint(tmp_path, filename="at", every_n_train_steps=5),
        steps=6,
    )
    run(with_checkpoints, SampleStrip([0, 3, 9]), steps=9, ckpt_path=tmp_path / "at.ckpt", weights_only=True)
    assert list(pictures[-1]) == list(whole)
    assert all(torch.equal(pictures[-1][name], whole[name]) for name in whole)


def test_points_of_the_line(make_trainer, pictures, tmp_path):
    line = GaussianMixture([[0.0], [4.0]], 0.5, event_shape=(1,), **SMALL)
    run(make_trainer, SampleStrip([2]), steps=2, data=line)
    assert pictures[0]["step 2"].shape == (5000, 1)
    assert (tmp_path / "samples" / "sample_strip_0000002.png").stat().st_size > 1000


def test_what_is_refused(make_trainer):
    for kwargs in ({"steps": []}, {"steps": [-1]}, {"num_points": 0}):
        with pytest.raises(UserError, match="SampleStrip needs"):
            SampleStrip(**kwargs)
    with pytest.raises(UserError, match=r"shape \(1, 8, 8\)"):
        make_trainer(SampleStrip()).fit(Draws(lambda num: torch.rand(num, 1, 8, 8)), Digits())
