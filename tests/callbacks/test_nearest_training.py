"""How near samples are to the training examples, on copies, on held-out data and on what is neither."""

import sys

import numpy as np
import pytest
import torch

from lit_gen.callbacks.nearest_training import NearestTraining, _nearer
from lit_gen.callbacks.real_examples import examples_at, real_examples
from lit_gen.data.digits import Digits
from lit_gen.data.toy import Grid
from lit_gen.errors import UserError
from lit_gen.metrics.features.lenet import LeNet
from lit_gen.metrics.nearest_neighbours import Neighbours, nearest_neighbours
from tests.callbacks.drawing import Draws
from tests.callbacks.shown import grid_in

DIGITS = Digits(num_validation=300, eval_batch_size=128)
TRAIN = torch.cat([batch.x for batch in DIGITS.reference_loader("train")])
TEST = torch.cat([batch.x for batch in DIGITS.reference_loader("test")])


def ratio(make_trainer, draw, data=DIGITS, **kwargs):
    callback = NearestTraining(**{"num_samples": 200, **kwargs})
    (figures,) = make_trainer(callback).test(Draws(draw), data, verbose=False)
    (name,) = callback.protocols
    return figures[name], name, callback.protocols[name]


@pytest.mark.parametrize("extractor", [None, LeNet()], ids=["data", "lenet"])
def test_copies_new_digits_and_noise(make_trainer, extractor):
    copies, name, told = ratio(make_trainer, lambda num: TRAIN[torch.randperm(len(TRAIN))[:num]], extractor=extractor)
    space = "data" if extractor is None else "lenet"
    assert copies == 0 and name == f"test/nearest_training_ratio_{space}_200"
    assert "of 997 training examples" in told and "200 test examples" in told and "200 samples" in told
    near, *_ = ratio(
        make_trainer, lambda num: (TRAIN[:num] + 0.03 * torch.randn(num, 1, 8, 8)).clamp(0, 1), extractor=extractor
    )
    new, *_ = ratio(make_trainer, lambda num: TEST[torch.randperm(len(TEST))[:num]], extractor=extractor)
    assert 0 < near < 0.5 and 0.9 < new < 1.1
    if extractor is None:
        noise, *_ = ratio(make_trainer, lambda num: torch.rand(num, 1, 8, 8))
        assert noise > 1.5


@pytest.mark.parametrize("part", [1, 64 * 300, 2**24])
def test_the_figure_by_hand_however_it_is_parted(make_trainer, part, monkeypatch):
    monkeypatch.setattr(sys.modules[NearestTraining.__module__], "PART", part)
    fixed = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found, *_ = ratio(make_trainer, lambda num: fixed, batch_size=200)
    chosen = [n for n in range(500) if (n + 1) * 200 // 500 > n * 200 // 500]

    def median(x):
        distances = np.sqrt(((x.flatten(1).double()[:, None] - TRAIN.flatten(1).double()) ** 2).sum(2)).amin(1)
        return distances.median()

    assert found == pytest.approx(float(median(fixed) / median(TEST[chosen])), rel=1e-6)


def test_the_picture_shows_each_sample_and_its_nearest(make_trainer, tmp_path):
    copies = TRAIN[[5, 100, 900]]
    ratio(make_trainer, lambda num: copies[torch.arange(num) % 3], num_pictured=3, num_neighbours=4, batch_size=200)
    (file,) = (tmp_path / "samples").iterdir()
    assert file.name.startswith("nearest_training_test_")
    side = 64 + 4
    picture = torch.from_numpy(grid_in(file, 6 * side, 3 * side).copy())
    cells = picture.view(3, side, 6, side).permute(0, 2, 1, 3)[..., 2:-2, 2:-2]
    nearest = nearest_neighbours(copies.flatten(1), TRAIN.flatten(1), 4).index
    for row in range(3):
        shown = [copies[row, 0], torch.ones(8, 8), *TRAIN[nearest[row], 0]]
        for cell, image in zip(cells[row], shown, strict=True):
            big = (image * 255).round().repeat_interleave(8, 0).repeat_interleave(8, 1)
            assert torch.equal(cell.float(), big)
    assert torch.equal(cells[:, 0], cells[:, 2])


def test_points_have_no_picture(make_trainer, tmp_path):
    grid = Grid(num_train=500, num_validation=100, num_test=100)
    new, name, _ = ratio(make_trainer, grid.sample, grid, num_samples=2000)
    assert name == "test/nearest_training_ratio_data_2k" and 0.8 < new < 1.25
    assert not (tmp_path / "samples").exists()


def test_merging_keeps_the_nearest_and_of_equal_ones_the_lower_numbers():
    a = Neighbours(torch.tensor([[7, 3]]), torch.tensor([[1.0, 2.0]]).double())
    b = Neighbours(torch.tensor([[2, 9]]), torch.tensor([[1.0, 1.5]]).double())
    for pair in ((a, b), (b, a)):
        best = _nearer(*pair, 3)
        assert best.index.tolist() == [[2, 7, 9]] and best.distance.tolist() == [[1, 1, 1.5]]


def test_real_examples_are_evenly_spaced_and_found_by_number(make_trainer):
    trainer = make_trainer()
    trainer.datamodule, DIGITS.trainer = DIGITS, None
    assert torch.equal(real_examples(trainer, "train", 10_000, torch.device("cpu")), TRAIN)
    some = real_examples(trainer, "train", 10, torch.device("cpu"))
    assert torch.equal(some, TRAIN[[n for n in range(997) if (n + 1) * 10 // 997 > n * 10 // 997]])
    index = torch.tensor([996, 0, 500, 0])
    assert torch.equal(examples_at(trainer, "train", index), TRAIN[index])


def test_what_is_refused(make_trainer):
    for kwargs, match in (
        ({"num_samples": 0}, "num_samples"),
        ({"num_pictured": -1}, "num_pictured"),
        ({"num_neighbours": 0}, "num_neighbours"),
    ):
        with pytest.raises(UserError, match=match):
            NearestTraining(**kwargs)
    grid = Grid(num_train=20, num_validation=5, num_test=5, batch_size=5)
    for callback, match in (
        (NearestTraining(extractor=LeNet()), "extractor: null"),
        (NearestTraining(num_neighbours=21), "more than the 20 training examples"),
    ):
        with pytest.raises(UserError, match=match):
            make_trainer(callback).fit(Draws(grid.sample), grid)
    with pytest.raises(UserError, match="has the model diverged"):
        make_trainer(NearestTraining()).test(Draws(lambda num: grid.sample(num) / 0), grid, verbose=False)
