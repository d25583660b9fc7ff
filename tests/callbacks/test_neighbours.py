"""Figures of neighbours against scikit-learn's, the picture, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from lit_gen.callbacks.neighbours import KNNAccuracy, Retrieval
from lit_gen.callbacks.pictures import image_grid
from lit_gen.cli.main import main
from lit_gen.errors import UserError
from tests.callbacks.shown import shows

SCRIPT = Path(__file__).with_name("neighbours_of_one_rank.py")


def spaces(model, data):
    """Codes and pixels of the training and of the test split."""
    model.eval()
    with torch.no_grad():
        return [
            (model.encode(data.train.x).numpy(), model.encode(data.x).numpy()),
            (data.train.x.flatten(1).numpy(), data.x.flatten(1).numpy()),
        ]


def test_accuracy_is_scikit_learns(make_trainer, labelled_data, linear_model):
    model, data, callback = linear_model(), labelled_data(), KNNAccuracy(5)
    (figures,) = make_trainer(callback).test(model, data, verbose=False)
    for name, (reference, queries) in zip(("code", "data"), spaces(model, data), strict=True):
        classifier = KNeighborsClassifier(5, algorithm="brute").fit(reference, data.train.label.numpy())
        expected = classifier.score(queries, data.label.numpy())
        assert figures[f"test/knn_accuracy_k5_{name}"] == pytest.approx(expected)
        assert 0.2 < expected < 1
    assert callback.protocols == {
        "test/knn_accuracy_k5_code": "5 nearest of 60 training examples, euclidean distance in 2 dimensions; "
        "24 test examples; not binarized",
        "test/knn_accuracy_k5_data": "5 nearest of 60 training examples, euclidean distance in 16 dimensions; "
        "24 test examples; not binarized",
    }


def test_precision_is_that_of_a_brute_force_search(make_trainer, labelled_data, linear_model):
    model, data = linear_model(), labelled_data()
    callback = Retrieval(7, distance="cosine", data_distance="euclidean")
    (figures,) = make_trainer(callback).test(model, data, verbose=False)
    for name, metric, (reference, queries) in zip(
        ("code", "pixels"), ("cosine", "euclidean"), spaces(model, data), strict=True
    ):
        search = NearestNeighbors(n_neighbors=7, metric=metric, algorithm="brute").fit(reference)
        found = search.kneighbors(queries, return_distance=False)
        expected = (data.train.label.numpy()[found] == data.label.numpy()[:, None]).mean()
        assert figures[f"test/retrieval_precision_at_7_{name}"] == pytest.approx(expected)
        assert metric in callback.protocols[f"test/retrieval_precision_at_7_{name}"]


def test_the_picture_has_the_query_on_the_left(make_trainer, labelled_data, linear_model, tmp_path):
    model, data = linear_model(), labelled_data()
    make_trainer(Retrieval(4, num_pictured=2)).test(model, data, verbose=False)
    rows = []
    for query in (0, 1):  # the first examples of the first two classes
        nearest = [
            NearestNeighbors(n_neighbors=4, algorithm="brute")
            .fit(reference)
            .kneighbors(queries[query : query + 1], return_distance=False)[0]
            for reference, queries in spaces(model, data)
        ]
        gap = torch.ones(1, 1, 4, 4)
        rows += [data.x[query : query + 1], gap, data.train.x[nearest[0]], gap, data.train.x[nearest[1]]]
    expected = image_grid(torch.cat(rows), 11)
    assert shows(tmp_path / "samples" / "retrieval_test_0000000.png", expected)


def test_points_are_retrieved_without_a_picture(make_trainer, labelled_data, linear_model, tmp_path):
    (figures,) = make_trainer(Retrieval(3)).test(linear_model((5,)), labelled_data((5,)), verbose=False)
    names = {name for name in figures if "retrieval" in name}
    assert names == {"test/retrieval_precision_at_3_code", "test/retrieval_precision_at_3_data"}
    assert not (tmp_path / "samples").exists()


def test_measured_at_validation_when_asked_for(make_trainer, labelled_data, linear_model):
    seen = []

    class Spy(KNNAccuracy):
        def _measure(self, trainer, pl_module, split):
            seen.append((trainer.current_epoch, split))
            super()._measure(trainer, pl_module, split)

    model, data = linear_model(), labelled_data()
    trainer = make_trainer(Spy(3, every_n_epochs=2), max_epochs=4, num_sanity_val_steps=1)
    trainer.fit(model, data)
    assert seen == [(1, "val"), (3, "val")]
    assert "val/knn_accuracy_k3_code" in trainer.callback_metrics
    seen.clear()
    make_trainer(Spy(3)).fit(model, data)
    assert seen == []
    make_trainer(Spy(3)).validate(model, data, verbose=False)
    assert seen == [(0, "val")]


def test_evenly_spaced_parts_of_large_splits(make_trainer, labelled_data, linear_model):
    model, data = linear_model(), labelled_data()
    callback = KNNAccuracy(3, num_reference=20, num_queries=10)
    (figures,) = make_trainer(callback).test(model, data, verbose=False)
    (reference, queries), _ = spaces(model, data)
    kept = [row for row in range(60) if (row + 1) * 20 // 60 > row * 20 // 60]
    asked = [row for row in range(24) if (row + 1) * 10 // 24 > row * 10 // 24]
    classifier = KNeighborsClassifier(3, algorithm="brute").fit(reference[kept], data.train.label.numpy()[kept])
    expected = classifier.score(queries[asked], data.label.numpy()[asked])
    assert figures["test/knn_accuracy_k3_code"] == pytest.approx(expected)
    assert "3 nearest of 20 " in callback.protocols["test/knn_accuracy_k3_code"]
    assert "; 10 test examples" in callback.protocols["test/knn_accuracy_k3_code"]


def test_what_is_refused(make_trainer, labelled_data, linear_model):
    for kwargs, match in [
        ({"num_neighbours": 0}, "KNNAccuracy needs num_neighbours of at least 1, got 0"),
        ({"num_reference": 0}, "num_reference"),
        ({"num_queries": 0}, "num_queries"),
        ({"every_n_epochs": -1}, "every_n_epochs"),
        ({"distance": "hamming"}, "'hamming'"),
        ({"data_distance": "hamming"}, "data_distance is one of euclidean, cosine, not 'hamming'"),
    ]:
        with pytest.raises(UserError, match=match):
            KNNAccuracy(**kwargs)
    with pytest.raises(UserError, match="num_pictured"):
        Retrieval(num_pictured=-1)
    for callback, match in [
        (KNNAccuracy(61), "num_neighbours 61 is more than the 60 training examples"),
        (Retrieval(11, num_reference=10), "num_neighbours 11 is more than the 10 training examples"),
    ]:
        trainer = make_trainer(callback)
        with pytest.raises(UserError, match=match):
            trainer.fit(linear_model(), labelled_data())
        assert trainer.global_step == 0
    unlabelled = labelled_data()
    unlabelled.num_classes = None
    with pytest.raises(UserError, match="compares labels"):
        make_trainer(KNNAccuracy(3)).fit(linear_model(), unlabelled)


@pytest.mark.parametrize("count", ["0", "100000"])
def test_counts_out_of_range_on_the_command_line(capsys, tmp_path, count):
    callback = json.dumps([{"class_path": "lit_gen.callbacks.Retrieval", "init_args": {"num_neighbours": int(count)}}])
    arguments = ["fit", "--config", "conf/vaes/vae_digits.yaml", f"--trainer.callbacks={callback}"]
    assert main([*arguments, f"--runs={tmp_path}", "--trainer.max_steps=1"]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("lit-gen: error: ") and "num_neighbours" in told and count in told
    assert "\n" not in told and "Traceback" not in told


def start(rank: int, world_size: int, folder: Path) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(rank), str(world_size), str(folder)]
    return subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.PIPE, text=True)


def test_two_processes_agree_with_one_and_with_each_other(tmp_path):
    processes = [start(0, 1, tmp_path), start(0, 2, tmp_path), start(1, 2, tmp_path)]
    answers = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    alone, *pair = (json.loads(answer) for answer in answers)
    assert pair[0] == pair[1] == pytest.approx(alone, rel=1e-9)
    assert len(alone) == 4
