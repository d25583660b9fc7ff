"""Documents as counts of words: which words, and how the counts are kept and handed out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from lit_gen.data.loader import EvaluationLoader, Place
from lit_gen.errors import UserError
from lit_gen.protocols import Batch

WORD = r"[a-z]{2,}"
"""A word: two or more letters a to z, in lower case. Digits, underscores and all other characters part words."""

_MOST_COUNTED = np.iinfo(np.int16).max
_CHUNK = 10_000  # rows made dense at once


class WordCounts(NamedTuple):
    """Counts of every word of a corpus.

    Attributes:
        train: (N, W) sparse counts.
        test: (M, W) sparse counts of the same words, those that occur in the training documents.
        words: the W words, sorted.
    """

    train: csr_matrix
    test: csr_matrix
    words: list[str]


def count_words(train: Sequence[str], test: Sequence[str], remove_stop_words: bool, origin: str) -> WordCounts:
    """Count the words (``WORD``) of texts; stop words are those of scikit-learn's English list.

    Raises:
        UserError: there is no word in all the training texts.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # takes a second to import

    counter = CountVectorizer(token_pattern=WORD, stop_words="english" if remove_stop_words else None, dtype=np.int64)
    try:
        counts = counter.fit_transform(train)
    except ValueError as error:  # "empty vocabulary"
        raise UserError(f"{origin} holds no words (of two or more letters a to z, stop words aside).") from error
    return WordCounts(counts.tocsr(), counter.transform(test).tocsr(), list(counter.get_feature_names_out()))


def most_frequent(counts: csr_matrix, size: int, origin: str) -> np.ndarray:
    """(size,) columns of the words that occur most often in (N, W) counts, most frequent first; ties by column.

    Raises:
        UserError: fewer words occur than are asked for.
    """
    frequency = np.asarray(counts.sum(axis=0)).ravel()
    num_words = int((frequency > 0).sum())
    if size > num_words:
        raise UserError(f"{origin} holds {num_words} different words, fewer than vocabulary_size {size}: lower it.")
    return np.argsort(-frequency, kind="stable")[:size]


def dense_counts(counts: csr_matrix) -> Tensor:
    """(N, V) sparse counts -> int16, 2 bytes a word and document; a count above 32,767 is cut to that."""
    dense = np.empty(counts.shape, dtype=np.int16)
    for start in range(0, counts.shape[0], _CHUNK):
        rows = slice(start, start + _CHUNK)
        dense[rows] = np.minimum(counts[rows].toarray(), _MOST_COUNTED)
    return torch.from_numpy(dense)


def shares(counts: Tensor, place: Place | None = None) -> Tensor:
    """(B, V) counts, none of whose rows is 0 -> shares of the words in each document, which sum to 1.

    They are of torch's default type.
    """
    counts = counts.to(torch.get_default_dtype())
    return counts / counts.sum(1, keepdim=True)


class ShareLoader(EvaluationLoader):
    """An ``EvaluationLoader`` of counts that hands out shares."""

    def _take(self, index: Tensor, rows: Tensor) -> Batch:
        batch = super()._take(index, rows)
        return batch._replace(x=shares(batch.x))
