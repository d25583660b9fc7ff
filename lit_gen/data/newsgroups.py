"""20 newsgroups, through scikit-learn's download."""

from difflib import get_close_matches

import torch

from lit_gen.data.documents import TextDocuments, Texts, fetched
from lit_gen.data.places import data_root
from lit_gen.errors import UserError


class Newsgroups(TextDocuments):
    """18,846 posts to 20 newsgroups, in the official split by date, through scikit-learn's download (14 MB).

    Source: http://qwone.com/~jason/20Newsgroups. By default headers, signatures and quotations are left out, without
    which the category is told from names and addresses.

    Args:
        root: the folder that ``20newsgroups`` is kept in; None for the environment's LIT_GEN_DATA, or else ``data``.
        download: fetch the posts if they are not there.
        categories: names of newsgroups, such as ``sci.space``; None for all.
        remove: parts of each post that are left out: headers, footers, quotes.
        num_validation: posts of the training part held out.
        **kwargs: as in ``TextDocuments``.
    """

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        categories: list[str] | None = None,
        remove: list[str] = ["headers", "footers", "quotes"],  # noqa: B006 (never changed)
        num_validation: int = 1000,
        **kwargs,
    ) -> None:
        super().__init__(num_validation=num_validation, **kwargs)
        if categories is not None and len(set(categories)) < 2:
            raise UserError("Newsgroups: categories must name at least two newsgroups, or be null for all.")
        unknown = sorted(set(remove) - {"headers", "footers", "quotes"})
        if unknown:
            raise UserError(f"Newsgroups: remove takes headers, footers and quotes, not {unknown[0]!r}.")
        self.root = data_root(root)
        self.download = download
        self.categories = categories
        self.remove = tuple(remove)

    def prepare_data(self) -> None:
        """Download what is missing, in one process."""
        self._fetch("train")

    def read_texts(self) -> tuple[Texts, Texts]:
        """From scikit-learn's copy of the posts.

        Raises:
            UserError: the posts are not there and cannot be had, or there is no newsgroup of a name.
        """
        train, test = self._fetch("train"), self._fetch("test")
        groups = list(train.target_names)
        self.class_names = groups if self.categories is None else sorted(self.categories)
        unknown = [name for name in self.class_names if name not in groups]
        if unknown:
            near = get_close_matches(unknown[0], groups, n=1, cutoff=0)
            raise UserError(f"Newsgroups: there is no newsgroup {unknown[0]!r}; did you mean {near[0]!r}?")
        numbers = {groups.index(name): number for number, name in enumerate(self.class_names)}
        return self._texts(train, numbers, "training posts"), self._texts(test, numbers, "test posts")

    @staticmethod
    def _texts(posts, numbers: dict[int, int], name: str) -> Texts:
        rows = [row for row, group in enumerate(posts.target) if int(group) in numbers]
        label = torch.tensor([numbers[int(posts.target[row])] for row in rows], dtype=torch.int64)
        return Texts([posts.data[row] for row in rows], label, f"20 newsgroups, {name}")

    def _fetch(self, subset: str):
        from sklearn import datasets  # takes a second to import, and only this needs it

        return fetched(
            "20 newsgroups",
            self.root / "20newsgroups",
            lambda folder: datasets.fetch_20newsgroups(
                data_home=folder,
                subset=subset,
                shuffle=False,
                remove=self.remove,
                download_if_missing=self.download,
            ),
        )
