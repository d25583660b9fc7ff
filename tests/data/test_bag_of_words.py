"""The vocabulary and the counts, against scikit-learn's and by hand."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from lit_gen.data.bag_of_words import ShareLoader, count_words, dense_counts, most_frequent, shares
from lit_gen.data.loader import Examples
from lit_gen.errors import UserError

TRAIN = ["The cat sat; the cat ran.", "A dog, 3 dogs and a_cat!", "x y z", "Run dog RUN"]


def test_words_are_letters_in_lower_case_without_stop_words():
    counted = count_words(TRAIN, ["cats ran, cat unseen"], True, "here")
    assert counted.words == ["cat", "dog", "dogs", "ran", "run", "sat"]
    assert counted.train.toarray().tolist() == [
        [2, 0, 0, 1, 0, 1],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 2, 0],
    ]
    assert counted.test.toarray().tolist() == [[1, 0, 0, 1, 0, 0]]
    assert "the" in count_words(TRAIN, TRAIN, False, "here").words
    with pytest.raises(UserError, match="here holds no words"):
        count_words(["the of", "1 2"], [], True, "here")


def test_the_vocabulary_is_scikit_learns():
    generator = np.random.default_rng(0)
    words = sorted({"".join(generator.choice(list("abcde"), 3)) for _ in range(40)} - ENGLISH_STOP_WORDS)
    # Word i is drawn with odds 1 / (i + 1), enough often that no two of the first 20 are equally frequent.
    odds = 1 / np.arange(1, len(words) + 1)
    texts = [" ".join(generator.choice(words, 500, p=odds / odds.sum())) for _ in range(40)]
    counted = count_words(texts, [], True, "")
    columns = most_frequent(counted.train, 15, "")
    reference = CountVectorizer(token_pattern=r"(?u)\b\w\w+\b", stop_words="english", max_features=15).fit(texts)
    assert sorted(counted.words[c] for c in columns) == sorted(reference.vocabulary_)
    frequency = np.asarray(counted.train.sum(0)).ravel()[columns]
    assert (np.diff(frequency) <= 0).all()


def test_equally_frequent_words_are_taken_in_order():
    counts = csr_matrix(np.array([[1, 2, 2, 0, 1], [1, 0, 0, 0, 1]]))
    assert most_frequent(counts, 4, "").tolist() == [0, 1, 2, 4]
    with pytest.raises(UserError, match="corpus holds 4 different words, fewer than vocabulary_size 5"):
        most_frequent(counts, 5, "corpus")


def test_counts_are_dense_in_two_bytes():
    counts = csr_matrix(np.array([[0, 3], [40_000, 1]]))
    dense = dense_counts(counts)
    assert dense.dtype == torch.int16
    assert dense.tolist() == [[0, 3], [32_767, 1]]


def test_shares_sum_to_one_in_every_batch():
    counts = torch.tensor([[1, 3, 0], [0, 0, 7], [30_000, 30_000, 0]], dtype=torch.int16)
    assert shares(counts).tolist() == [[0.25, 0.75, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]]
    (batch,) = ShareLoader(Examples(counts), 5)
    assert torch.equal(batch.x, shares(counts))
    assert batch.x.dtype == torch.float32
    assert counts[0].tolist() == [1, 3, 0], "what is stored stays"
