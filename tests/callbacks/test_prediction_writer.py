import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch

from lit_gen.callbacks.prediction_writer import PredictionWriter
from lit_gen.errors import UserError


def test_every_named_array_is_written_in_the_order_of_the_examples(make_trainer, linear_model, small_data, tmp_path):
    class Predicting(linear_model):
        def predict_step(self, batch, batch_idx):
            return {"code": self.encode(batch.x), "label": batch.label, "half": batch.x.mean((1, 2, 3)).bfloat16()}

    data, model = small_data(num=19, batch_size=5), Predicting()
    shuffled = data._batches()
    shuffled.batches = shuffled.batches[::-1]
    data.predict_dataloader = lambda: shuffled
    make_trainer(PredictionWriter()).predict(model, data, return_predictions=False)
    with np.load(tmp_path / "predictions.npz") as written:
        assert sorted(written) == ["code", "half", "index", "label"]
        assert (written["index"] == np.arange(19)).all()
        assert (written["label"] == data.label.numpy()).all()
        with torch.no_grad():
            assert np.allclose(written["code"], model.eval().encode(data.x).numpy(), atol=1e-6)
        assert written["half"].dtype == np.float32


class Pair(NamedTuple):
    code: torch.Tensor
    size: torch.Tensor


@pytest.mark.parametrize(
    ("returned", "names"),
    [(lambda x: Pair(x, x.square()), ["code", "index", "size"]), (lambda x: x, ["index", "prediction"])],
)
def test_named_tuples_and_single_tensors_are_written_too(
    make_trainer, linear_model, small_data, tmp_path, returned, names
):
    model = linear_model()
    model.predict_step = lambda batch, batch_idx: returned(batch.x)
    make_trainer(PredictionWriter()).predict(model, small_data())
    with np.load(tmp_path / "predictions.npz") as written:
        assert sorted(written) == names


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda batch: [1, 2], "returned a list"),
        (lambda batch: {}, "returned a dict"),
        (lambda batch: {"mean": batch.x.mean()}, r"'mean' of shape \(\) for 8 examples"),
        (lambda batch: {"first": batch.x[:1]}, r"'first' of shape \(1, 1, 4, 4\) for 8 examples"),
        (lambda batch: {"index": batch.index}, "must not name an array 'index'"),
        (lambda batch: {f"part{int(batch.index[0])}": batch.x}, "every batch must return the same names"),
    ],
)
def test_other_returns_are_refused(make_trainer, linear_model, small_data, tmp_path, returned, message):
    model = linear_model()
    model.predict_step = lambda batch, batch_idx: returned(batch)
    with pytest.raises(UserError, match=message):
        make_trainer(PredictionWriter()).predict(model, small_data())
    assert not (tmp_path / "predictions.npz").exists()


ON_ONE_RANK = """
import sys
import torch
import torch.distributed as dist
from lit_gen.callbacks.prediction_writer import PredictionWriter
from lit_gen.distributed import leave_together
from lit_gen.protocols import Batch

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
writer = PredictionWriter()
writer.on_predict_start(None, None)
# The second rank's share is padded with the first example.
index = torch.tensor([0, 2, 4, 6] if rank == 0 else [1, 3, 5, 0])
writer.on_predict_batch_end(None, None, {"twice": 2 * index}, Batch(index.float(), None, index), 0)
trainer = type("Trainer", (), {"default_root_dir": folder if rank == 0 else "/nowhere/at/all"})
writer.on_predict_end(trainer, None)
leave_together()
"""


def test_ranks_are_gathered_and_each_example_is_kept_once(tmp_path):
    command = [sys.executable, "-c", ON_ONE_RANK]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    with np.load(tmp_path / "predictions.npz") as written:
        assert written["index"].tolist() == list(range(7))
        assert written["twice"].tolist() == [2 * n for n in range(7)]
