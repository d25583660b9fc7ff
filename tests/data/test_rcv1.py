"""RCV1 by a small stand-in in scikit-learn's format: the weights' formula is undone."""

from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.datasets
import torch
from scipy.sparse import csr_matrix

from lit_gen.data import rcv1
from lit_gen.data.rcv1 import RCV1, recovered_counts
from lit_gen.errors import UserError

NUM_STORIES, NUM_WORDS, NUM_WEIGHED = 300, 40, 200
TOPICS = ["CCAT", "C12", "ECAT", "GCAT", "MCAT"]


def true_counts() -> np.ndarray:
    """Counts with a word that occurs once in every story."""
    generator = np.random.default_rng(0)
    counts = generator.poisson(generator.gamma(0.3, 2.0, (NUM_STORIES, NUM_WORDS)))
    counts[np.arange(NUM_STORIES), generator.integers(0, NUM_WORDS, NUM_STORIES)] = 1
    return counts


def weigh(counts: np.ndarray, num_weighed: int = NUM_WEIGHED) -> csr_matrix:
    """Lewis et al. (2004): (1 + ln n) ln(N / N_w), cosine-normalised."""
    having = (counts[:num_weighed] > 0).sum(0)
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * np.log(num_weighed / having)
    return csr_matrix(weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12))


@pytest.fixture
def stories(monkeypatch):
    target = np.zeros((NUM_STORIES, len(TOPICS)), dtype=np.uint8)
    for row in range(NUM_STORIES):
        target[row, [0, 2, 3, 4][row % 4]] = 1
        target[row, 1] = row % 8 == 0  # a child of CCAT
        target[row, 2] |= row % 12 == 0  # of two roots
    asked = []

    def fetch(**kwargs):
        asked.append(kwargs)
        return SimpleNamespace(
            data=weigh(true_counts()), target=csr_matrix(target), target_names=np.array(TOPICS, dtype=object)
        )

    monkeypatch.setattr(sklearn.datasets, "fetch_rcv1", fetch)
    monkeypatch.setattr(rcv1, "_NUM_WEIGHED", NUM_WEIGHED)
    monkeypatch.setattr(rcv1, "_CHUNK", 64)
    return SimpleNamespace(asked=asked, target=target)


def test_counts_are_recovered_exactly(monkeypatch):
    monkeypatch.setattr(rcv1, "_CHUNK", 64)
    counts = true_counts()
    assert (recovered_counts(weigh(counts), NUM_WEIGHED).toarray() == counts).all()


def test_empty_stories_and_words_never_weighed_count_nothing():
    counts = true_counts()
    counts[[0, 7, 299]] = 0
    weights = weigh(counts).tolil()
    weights[:NUM_WEIGHED, 3] = 0  # no weight is known for a word that none of these has
    weights[NUM_WEIGHED:, 3] = 0.1
    counts[:, 3] = 0
    keeps_a_single = (counts == 1).any(1) | (counts == 0).all(1)
    recovered = recovered_counts(weights.tocsr(), NUM_WEIGHED).toarray()
    assert keeps_a_single.mean() > 0.9
    assert (recovered[keeps_a_single] == counts[keeps_a_single]).all()


def test_other_weights_are_told_of():
    generator = np.random.default_rng(0)
    strange = csr_matrix(
        generator.random((NUM_STORIES, NUM_WORDS)) * (generator.random((NUM_STORIES, NUM_WORDS)) < 0.3)
    )
    with pytest.warns(UserWarning, match="not near a whole number"):
        recovered_counts(strange, NUM_WEIGHED)


def test_stories_of_exactly_one_topic(stories, tmp_path):
    data = RCV1(root=str(tmp_path), vocabulary_size=20, num_validation=10, batch_size=8)
    data.prepare_data()
    data.setup()
    kept = np.flatnonzero(stories.target[:, [0, 2, 3, 4]].sum(1) == 1)
    assert sum(data.num_examples(split) for split in ("train", "val", "test")) == len(kept) == 275
    assert data.class_names == ["corporate", "economics", "government and society", "markets"]
    assert stories.asked[0] == {"data_home": str(tmp_path), "download_if_missing": True}
    halves = [torch.bincount(part.label) for part in data._arrays]
    assert (halves[0] - halves[1]).abs().max() <= 1
    # The words are the most frequent ones of the training half, and the counts the true ones.
    counts = true_counts()[kept][:, [int(word) for word in data.vocabulary]]
    rows = {tuple(row) for row in counts.tolist()}
    assert all(tuple(row) in rows for part in data._arrays for row in part.x.tolist())
    frequency = data._arrays.train.x.sum(0)
    assert (frequency.diff() <= 0).all()
    assert data._arrays.train.x.dtype == torch.int16


def test_what_is_wrong_is_named(stories, tmp_path):
    with pytest.raises(UserError, match="no topic 'XCAT' among"):
        RCV1(root=str(tmp_path), categories=["CCAT", "XCAT"]).setup()
    with pytest.raises(UserError, match="at least two topics"):
        RCV1(categories=["CCAT"])
    with pytest.raises(UserError, match="fewer than vocabulary_size 2000"):
        RCV1(root=str(tmp_path)).setup()


def test_stories_that_cannot_be_had(tmp_path):
    with pytest.raises(UserError, match=r"RCV1 cannot be read from") as told:
        RCV1(root=str(tmp_path), download=False).prepare_data()
    assert "\n" not in str(told.value)
