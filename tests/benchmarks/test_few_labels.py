"""The benchmark of few labels, run small: on the digits, where its claim must hold too."""

import statistics

import pytest

from benchmarks.few_labels import FewLabels, Pair, table_row

CONFIG = "conf/classifiers/few_labels_digits.yaml"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[Pair]:
    """Five draws of 20 labels."""
    folder = tmp_path_factory.mktemp("runs")
    bench = FewLabels(CONFIG)
    ((count, measured),) = bench.pairs(bench.pretrain(folder), [20], range(5), folder)
    assert count == 20
    return measured


def test_pretraining_helps(pairs):
    assert statistics.mean(pair.pretrained for pair in pairs) > statistics.mean(pair.scratch for pair in pairs) + 0.005


def test_both_sides_learn_and_seeds_differ(pairs):
    assert all(0.5 < accuracy < 0.95 for pair in pairs for accuracy in pair)
    assert len({pair.scratch for pair in pairs}) > 1 and len({pair.pretrained for pair in pairs}) > 1


def test_a_seed_gives_the_same_again(tmp_path):
    bench = FewLabels(CONFIG, "--stages.pretrained.trainer.max_epochs=1", "--stages.fine_tuned.trainer.max_epochs=20")
    given = bench.pretrain(tmp_path)
    ((_, both),) = bench.pairs(given, [20], [3, 3], tmp_path)
    assert both[0] == both[1] and both[0].pretrained != both[0].scratch


def test_the_table_tells_mean_and_spread():
    pairs = [Pair(0.9, 0.8), Pair(0.8, 0.85)]
    assert pairs[0].error_ratio == pytest.approx(0.5)
    line = table_row(10, pairs)
    assert "pretrained 85.00 +- 7.07, scratch 82.50 +- 3.54 %" in line and "better in 1 of 2" in line
