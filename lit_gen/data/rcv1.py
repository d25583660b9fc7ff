"""Reuters' news stories, RCV1-v2, through scikit-learn's download."""

import warnings

import numpy as np
import torch
from scipy.sparse import csr_matrix

from lit_gen.data.array_file import check_fraction
from lit_gen.data.bag_of_words import most_frequent
from lit_gen.data.base import Arrays
from lit_gen.data.documents import Documents, fetched, stratified
from lit_gen.data.places import data_root
from lit_gen.errors import UserError

_NAMES = {
    "CCAT": "corporate",
    "ECAT": "economics",
    "GCAT": "government and society",
    "MCAT": "markets",
    # The eight of Hinton & Salakhutdinov's picture.
    "C12": "legal",
    "C151": "accounts and earnings",
    "E212": "government borrowing",
    "E71": "leading indicators",
    "G15": "European Community",
    "GDIS": "disasters and accidents",
    "M131": "interbank markets",
    "M143": "energy markets",
}
_NUM_WEIGHED = 23_149  # the stories, first in scikit-learn's order, by which its distributors weighed the words
_MOST = np.log(32_767.0)  # what the counts are cut to in the end
_CHUNK = 50_000  # stories whose counts are recovered at once


class RCV1(Documents):
    """Up to 804,414 news stories of 1996 and 1997, words already stemmed and rid of stop words.

    Lewis et al., RCV1: A New Benchmark Collection for Text Categorization Research (2004),
    https://www.jmlr.org/papers/v5/lewis04a.html. scikit-learn downloads 656 MB of weighted word counts, from which the
    counts are recovered (``recovered_counts``). A story may have several topics: those are kept which have exactly one
    of ``categories``. The split is at random within each category, half and half, as in Hinton & Salakhutdinov (2006),
    https://doi.org/10.1126/science.1127647.

    Memory: the sparse matrix, 0.7 GB, is read whole, and copied once; the ``vocabulary_size`` columns are chosen while
    it is sparse; what stays are 2 bytes a word and story, 2.8 GB for 2,000 words and 700,000 stories. The words' own
    names aren't distributed with it: ``vocabulary`` holds the numbers of the columns.

    Args:
        root: the folder that ``RCV1`` is kept in; None for the environment's LIT_GEN_DATA, or else ``data``.
        download: fetch the stories if they are not there.
        categories: codes of topics; the default are the four roots of the hierarchy, which leave about 680,000 stories.
        test_fraction: share of each category that is the test split, always the same stories.
        num_validation: stories of the others held out.
        **kwargs: as in ``Documents``.
    """

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        categories: list[str] = ["CCAT", "ECAT", "GCAT", "MCAT"],  # noqa: B006 (never changed)
        test_fraction: float = 0.5,
        num_validation: int = 10_000,
        **kwargs,
    ) -> None:
        super().__init__(num_validation=num_validation, **kwargs)
        check_fraction(test_fraction)
        if len(set(categories)) != len(categories) or len(categories) < 2:
            raise UserError("RCV1: categories must name at least two topics, each once.")
        self.root = data_root(root)
        self.download = download
        self.categories = list(categories)
        self.test_fraction = test_fraction

    def prepare_data(self) -> None:
        """Download what is missing, in one process."""
        self._fetch()

    def read(self) -> Arrays:
        """From scikit-learn's copy of the stories.

        Raises:
            UserError: the stories are not there and cannot be had, or there is no topic of a name.
        """
        bunch, origin = self._fetch(), "RCV1"
        codes = [str(name) for name in bunch.target_names]
        unknown = [code for code in self.categories if code not in codes]
        if unknown:
            raise UserError(f"RCV1: there is no topic {unknown[0]!r} among {', '.join(sorted(codes))[:200]}.")
        belongs = bunch.target.tocsc()[:, [codes.index(code) for code in self.categories]].toarray()
        kept = np.flatnonzero(belongs.sum(axis=1) == 1)
        self.class_names = [_NAMES.get(code, code) for code in self.categories]
        label = torch.from_numpy(belongs[kept].argmax(axis=1).astype(np.int64))
        held_out = stratified(label, self.test_fraction, self.class_names, origin)
        counts = recovered_counts(bunch.data.tocsr(), _NUM_WEIGHED)
        train, test = (kept[part.numpy()] for part in (~held_out, held_out))
        columns = most_frequent(counts[train], self.event_shape[0], origin)
        self.vocabulary = [str(column) for column in columns]
        counts = counts[:, columns]
        return Arrays(
            self._part(counts[train], label[~held_out], origin), self._part(counts[test], label[held_out], origin)
        )

    def _fetch(self):
        from sklearn import datasets  # takes a second to import, and only this needs it

        return fetched(
            "RCV1", self.root, lambda root: datasets.fetch_rcv1(data_home=root, download_if_missing=self.download)
        )


def recovered_counts(weights: csr_matrix, num_weighed: int) -> csr_matrix:
    """Counts of words from their weights; the argument's values are overwritten.

    The weight of a word that occurs n times in a story is (1 + ln n) ln(N / N_w) / |.|, N_w being how many of the first
    N stories have the word, and |.| the length of the story's vector (Lewis et al. 2004, Section 7). Divided by the
    second factor, weights of one story are to each other as the 1 + ln n; and the least is a word that occurs once, as
    some word does in nearly every story. Where none does, the counts come out too small by a common factor.

    Args:
        weights: (M, W); a column without entries among the first N, or with all of them, has no weight, and its counts
            become 0.
        num_weighed: N.
    """
    having = np.bincount(weights[:num_weighed].indices, minlength=weights.shape[1])
    rarity = np.log(num_weighed / np.maximum(having, 1)) * (having > 0)
    doubtful = 0
    for start in range(0, weights.shape[0], _CHUNK):
        borders = weights.indptr[start : start + _CHUNK + 1]
        values = weights.data[borders[0] : borders[-1]]  # a view
        weight = rarity[weights.indices[borders[0] : borders[-1]]]
        known = weight > 0
        values[:] = np.divide(values, weight, out=np.full_like(values, np.inf), where=known)
        lengths = np.diff(borders)
        least = np.full(len(lengths), np.inf)
        least[lengths > 0] = np.minimum.reduceat(values, (borders[:-1] - borders[0])[lengths > 0]) if len(values) else 0
        with np.errstate(invalid="ignore"):
            log_count = np.where(known, values / np.repeat(least, lengths) - 1, -np.inf)
        exact = np.exp(np.minimum(log_count, _MOST))
        values[:] = np.rint(exact)
        doubtful += int((np.abs(exact - values) > 0.1 * np.maximum(values, 1)).sum())
    if doubtful > 0.01 * max(weights.nnz, 1):
        warnings.warn(
            f"RCV1: {doubtful} of {weights.nnz} counts recovered from the weights are not near a whole number: "
            "the weights may not be those of the original distribution.",
            stacklevel=2,
        )
    weights.eliminate_zeros()
    return weights
