"""Documents of several categories as shares of the most frequent words; folders of text files."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from lit_gen.data.array_file import check_fraction
from lit_gen.data.bag_of_words import ShareLoader, count_words, dense_counts, most_frequent, shares
from lit_gen.data.base import Arrays, InMemoryData, Part
from lit_gen.data.description import Counted, Notes, Range, value_range
from lit_gen.data.loader import TrainingLoader
from lit_gen.data.places import data_root, find
from lit_gen.data.walk import walk
from lit_gen.errors import UserError, printable
from lit_gen.randomness import make_generator

_CHUNK = 10_000  # documents whose shares are looked at together


class Texts(NamedTuple):
    """Documents as they were read.

    Attributes:
        texts: N documents.
        label: (N,) int64 numbers of their categories.
        origin: what to call the source in a message.
    """

    texts: list[str]
    label: Tensor
    origin: str


class Documents(InMemoryData):
    """Base of the data modules of documents.

    An example x, (V,), holds the shares of V words in a document, which sum to 1: for ``SoftmaxCrossEntropy``, under
    which every document weighs the same, as in Hinton & Salakhutdinov's fine-tuning (2006, supporting material,
    https://doi.org/10.1126/science.1127647). The likelihood of a document of N words as a multinomial is N times as
    much; ``lengths`` gives N. The words are the V most frequent ones of the training part (validation documents
    included). A document without any of them is left out, and a warning says how many were.

    Counts lie in memory as int16: 2 V bytes a document.

    Args:
        vocabulary_size: V.
        **kwargs: as in ``InMemoryData``; documents cannot be binarized.

    Attributes:
        class_names: names of the categories, by their numbers; known after ``setup``.
        vocabulary: the V words, most frequent first; known after ``setup``.

    Raises:
        UserError: in ``setup``, fewer words than V, or a category without documents.
    """

    def __init__(self, vocabulary_size: int = 2000, **kwargs) -> None:
        super().__init__(event_shape=(vocabulary_size,), **kwargs)
        if self.binarization != "none":
            raise UserError(f"{type(self).__name__} holds counts of words: binarization must be none.")
        self.class_names: list[str] = []
        self.vocabulary: list[str] = []

    def lengths(self, split: str) -> Tensor:
        """(N,) int64: for each document of ``split``, how many of its words are in the vocabulary."""
        examples = self._examples(split, "none", torch.device("cpu"))
        counted = examples.x.sum(1, dtype=torch.int64)
        return counted if examples.rows is None else counted[examples.rows]

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled, endless, resumable."""
        loader = super().train_dataloader()
        loader.transform = shares
        return loader

    def _evaluation_loader(self, split: str, binarization: str) -> ShareLoader:
        loader = super()._evaluation_loader(split, binarization)
        return ShareLoader(loader.examples, loader.batch_size, loader.rank, loader.world_size, loader.device)

    def _range(self, source: str) -> Range:
        """Of the shares, which are what is handed out."""
        if source not in self._ranges:
            chunks = getattr(self._arrays, source).x.split(_CHUNK)
            ranges = [value_range(shares(chunk)) for chunk in chunks]
            self._ranges[source] = Range(min(r.least for r in ranges), max(r.greatest for r in ranges))
        return self._ranges[source]

    def _part(self, counts: csr_matrix, label: Tensor, origin: str) -> Part:
        """A part of the corpus, (N, V) sparse counts and (N,) labels, without its empty documents.

        Raises:
            UserError: a category has no document left.
        """
        kept = np.diff(counts.indptr) > 0
        if not kept.all():
            numbers = np.flatnonzero(~kept)
            self.notes.pass_over("documents without a word of the vocabulary", (f"number {n}" for n in numbers))
            warnings.warn(
                f"{origin}: {len(numbers)} of {len(kept)} documents hold none of the {counts.shape[1]} words "
                "of the vocabulary and are left out.",
                stacklevel=2,
            )
            counts, label = counts[kept], label[torch.from_numpy(kept)]
        left = torch.bincount(label, minlength=len(self.class_names))
        if (left == 0).any():
            name = self.class_names[int((left == 0).nonzero()[0])]
            raise UserError(f"{origin} holds no document of the category {name!r} that has a word of the vocabulary.")
        return Part(dense_counts(counts), label, origin)


class TextDocuments(Documents):
    """Base of the data modules that read texts: a subclass says how to ``read_texts``.

    Args:
        vocabulary_size: V.
        remove_stop_words: leave scikit-learn's English stop words out of the vocabulary.
        **kwargs: as in ``Documents``.
    """

    def __init__(self, vocabulary_size: int = 2000, remove_stop_words: bool = True, **kwargs) -> None:
        super().__init__(vocabulary_size=vocabulary_size, **kwargs)
        self.remove_stop_words = remove_stop_words

    def read_texts(self) -> tuple[Texts, Texts]:
        """The training part, from which validation documents are held out, and the test part; sets ``class_names``."""
        raise NotImplementedError

    def read(self) -> Arrays:
        """Count the words."""
        train, test = self.read_texts()
        counted = count_words(train.texts, test.texts, self.remove_stop_words, train.origin)
        columns = most_frequent(counted.train, self.event_shape[0], train.origin)
        self.vocabulary = [counted.words[column] for column in columns]
        return Arrays(
            *(
                self._part(counts[:, columns], part.label, part.origin)
                for counts, part in ((counted.train, train), (counted.test, test))
            )
        )


class TextFolder(TextDocuments):
    """Text files in one folder a category, whose sorted names number the categories.

    Every file at any depth is a document, whatever its suffix. Links are followed. Names with a leading dot and files
    that lie in ``path`` itself are passed over, and ``description`` says how many. Documents are read as UTF-8; of
    those with bytes that aren't it says how many.

    Args:
        path: the folder; relative to the working folder or else to the root.
        test_path: a folder of test documents, with the same categories.
        test_fraction: share of each category that is the test split where there is no ``test_path``, always the same
            files.
        root: None for the environment's LIT_GEN_DATA, or else ``data``.
        **kwargs: as in ``TextDocuments``.
    """

    def __init__(
        self,
        path: str,
        test_path: str | None = None,
        test_fraction: float = 0.2,
        root: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        check_fraction(test_fraction)
        self.path = path
        self.test_path = test_path
        self.test_fraction = test_fraction
        self.root = data_root(root)

    def read_texts(self) -> tuple[Texts, Texts]:
        """Read the files.

        Raises:
            UserError: no such folder, no categories, or one that is empty or not in both folders.
        """
        folder = find(self.path, self.root)
        documents = read_folder(folder, self.notes)
        self.class_names = sorted(documents)
        if self.test_path is None:
            return split_by_category(documents, self.test_fraction, str(folder))
        test_folder = find(self.test_path, self.root)
        test_documents = read_folder(test_folder, self.notes)
        if sorted(test_documents) != self.class_names:
            odd = sorted(set(test_documents) ^ set(documents))[0]
            raise UserError(f"{folder} and {test_folder} must have the same categories: {odd!r} is in one of them.")
        return as_texts(documents, str(folder)), as_texts(test_documents, str(test_folder))


def fetched(name: str, folder: Path, fetch):
    """What one of scikit-learn's fetchers gives, called with the folder that it keeps its download in.

    Raises:
        UserError: the set is not there and cannot be had.
    """
    try:
        return fetch(str(folder))
    except Exception as error:  # whatever the network, the disk or a damaged archive has to say
        reason = " ".join(str(error).split())[-200:] or type(error).__name__
        raise UserError(
            f"{name} cannot be read from {folder} nor fetched by scikit-learn ({reason}): "
            "run once where there is a network, or copy that folder from a machine that has it."
        ) from error


def read_folder(folder: Path, notes: Notes) -> dict[str, list[str]]:
    """The texts of each category by its printable name, files in sorted order.

    Raises:
        UserError: there are no category folders, or one holds no files; or as ``walk``.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder of text files.")
    there = walk(folder, notes)
    if not there.folders:
        raise UserError(f"{folder} has no folders in it: it needs one folder of text files a category.")
    notes.pass_over("beside the categories' folders", (file.name for file in there.files if file.parent == folder))
    documents = {printable(category.name): [] for category in there.folders}
    odd = Counted()
    for file in there.files:
        if file.parent != folder:
            texts = documents[printable(file.relative_to(folder).parts[0])]
            texts.append(_read_text(file, odd, folder))
    for name, texts in documents.items():
        if not texts:
            raise UserError(f"{folder / name} is an empty category: put text files there, or delete the folder.")
    if odd.count:
        notes.remark(f"{odd.count:,} documents aren't UTF-8, and such bytes are skipped ({odd.names()})")
    return documents


def _read_text(file: Path, odd: Counted, folder: Path) -> str:
    """The text of a file, which is counted in ``odd`` if it isn't UTF-8."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        odd.add(file.relative_to(folder))
        return content.decode("utf-8", errors="replace")


def as_texts(documents: dict[str, list[str]], origin: str) -> Texts:
    """All documents, category by category in sorted order."""
    names = sorted(documents)
    texts = [text for name in names for text in documents[name]]
    return Texts(texts, torch.repeat_interleave(torch.tensor([len(documents[name]) for name in names])), origin)


def split_by_category(documents: dict[str, list[str]], test_fraction: float, origin: str) -> tuple[Texts, Texts]:
    """The training and the test part; each has its share of every category."""
    whole = as_texts(documents, origin)
    held_out = stratified(whole.label, test_fraction, sorted(documents), origin).tolist()
    parts = []
    for wanted in (False, True):
        rows = [row for row, test in enumerate(held_out) if test == wanted]
        parts.append(Texts([whole.texts[row] for row in rows], whole.label[rows], origin))
    return parts[0], parts[1]


def stratified(label: Tensor, test_fraction: float, names: list[str], origin: str) -> Tensor:
    """(N,) bool, which documents are the test split: ``test_fraction`` of each category, at least one, always the same.

    Raises:
        UserError: a category has fewer than two documents.
    """
    held_out = torch.zeros(len(label), dtype=torch.bool)
    for number, name in enumerate(names):
        rows = (label == number).nonzero().squeeze(1)
        if len(rows) < 2:
            count = "an empty category" if len(rows) == 0 else "a category of one document"
            raise UserError(f"{origin}: {name!r} is {count}; it needs at least two, one of them to test with.")
        num_test = min(max(round(len(rows) * test_fraction), 1), len(rows) - 1)
        order = torch.randperm(len(rows), generator=make_generator("test split of documents", number))
        held_out[rows[order[:num_test]]] = True
    return held_out
