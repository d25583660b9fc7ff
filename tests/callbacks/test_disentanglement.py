"""The figures of codes that are the factors, or mix them, at any batch size and on two processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from lit_gen.callbacks.disentanglement import Disentanglement
from lit_gen.data.shapes import Shapes
from lit_gen.errors import UserError
from lit_gen.models.base import GenerativeModel

SCRIPT = Path(__file__).with_name("disentanglement_of_one_rank.py")


class Oracle(GenerativeModel):
    """Reads the factors off the first pixels, where ``Written`` writes them."""

    def __init__(self, matrix=None):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(5) if matrix is None else matrix)
        self.dropout = nn.Dropout(0.5)

    def encode(self, x):
        factors = x[:, 0, 0, :5] * 255
        return self.dropout((factors - 5) / 3 @ self.weight)

    def decode(self, z):
        return z

    def test_step(self, batch, batch_idx):
        return {}

    validation_step = test_step


class Written(Shapes):
    """Shapes whose first pixels are their factors."""

    def __init__(self, **kwargs):
        super().__init__(num_sizes=4, num_angles=5, num_positions=6, num_train=500, num_test=1600, **kwargs)

    def _part(self, factors):
        part = super()._part(factors)
        part.x[:, 0, 0, :5] = factors.to(torch.uint8)
        return part


def figures(make_trainer, model, stage="test", callback=None, **kwargs):
    data = Written(num_validation=60, **kwargs)
    callback = callback or Disentanglement(num_votes=500)
    trainer = make_trainer(callback)
    [logged] = getattr(trainer, stage)(model, data, verbose=False)
    return logged, callback.protocols


def test_codes_that_are_the_factors_score_one(make_trainer):
    logged, protocols = figures(make_trainer, Oracle())
    assert logged["test/factor_vae_score_l64_1600"] == 1.0
    assert logged["test/mig_b20_1600"] == pytest.approx(1.0, abs=0.01)  # a sample: the other factors seem to know a bit
    assert {f"test/mig_b20_1600_{name}" for name in Written.factor_names} < set(logged)
    assert set(protocols) == {"test/factor_vae_score_l64_1600", "test/mig_b20_1600"}
    assert all("1600 test examples" in line and "0.05" in line for line in protocols.values())


def test_rotated_and_constant_codes_score_low(make_trainer):
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0))).Q
    rotated, _ = figures(make_trainer, Oracle(rotation))
    assert rotated["test/mig_b20_1600"] < 0.2
    assert rotated["test/factor_vae_score_l64_1600"] < 0.9
    constant, _ = figures(make_trainer, Oracle(torch.zeros(5, 5)))
    assert constant["test/mig_b20_1600"] == 0
    assert constant["test/factor_vae_score_l64_1600"] == pytest.approx(0.2, abs=0.06)


def test_the_batch_size_changes_nothing(make_trainer):
    mixed = torch.eye(5) + 0.3 * torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    callback = Disentanglement(num_votes=500, num_bins=10, group_size=20, num_examples=1000)
    one, _ = figures(make_trainer, Oracle(mixed), callback=callback, eval_batch_size=7)
    other, _ = figures(make_trainer, Oracle(mixed), callback=callback, eval_batch_size=1600)
    assert one == other
    assert {"test/factor_vae_score_l20_1k", "test/mig_b10_1k"} < set(one)
    assert 0.05 < one["test/mig_b10_1k"] < 0.95


def test_the_number_of_processes_changes_nothing(tmp_path):
    def start(rank, world_size):
        command = [sys.executable, str(SCRIPT), str(rank), str(world_size), str(tmp_path / "meeting")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    processes = [start(0, 1), start(0, 2), start(1, 2)]
    answers = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    alone, *pair = (json.loads(answer) for answer in answers)
    assert pair == [alone, alone]
    assert len(alone) == 7


def test_validation_is_measured_where_asked_for(make_trainer):
    logged, _ = figures(make_trainer, Oracle(), "validate")
    assert logged["val/factor_vae_score_l64_60"] > 0.8


def test_data_without_factors_and_numbers_out_of_range_are_refused(make_trainer, linear_model, small_data):
    with pytest.raises(UserError, match=r"known factors, as lit_gen\.data\.Shapes"):
        make_trainer(Disentanglement()).test(linear_model(), small_data(), verbose=False)
    for name, value in [
        ("num_bins", 1),
        ("group_size", 1),
        ("num_votes", 0),
        ("min_variance", -1),
        ("every_n_epochs", -1),
    ]:
        with pytest.raises(UserError, match=f"{name} of at least"):
            Disentanglement(**{name: value})
