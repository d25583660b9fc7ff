"""20 newsgroups by a small stand-in of scikit-learn's fetcher: its own split, what is refused."""

from types import SimpleNamespace

import pytest
import sklearn.datasets
import torch

from lit_gen.data.newsgroups import Newsgroups
from lit_gen.errors import UserError

WORDS = ["ship wave salt sail harbour", "cloud wing wind star feather", "root worm stone seed clay"]


def posts(subset, groups=("alt.sea", "alt.sky", "sci.soil")):
    """What ``fetch_20newsgroups`` gives, in small; the groups aren't in the order of anything."""
    count = {"train": 12, "test": 6}[subset]
    target = [number % 3 for number in range(count)]
    words = [text.split() for text in WORDS]
    texts = [f"subject {subset} " + " ".join(words[t][: 2 + number % 4]) for number, t in enumerate(target)]
    return SimpleNamespace(data=texts, target=target, target_names=list(groups))


def test_newsgroups_keep_their_own_split(tmp_path, monkeypatch):
    asked = []

    def fetch(**kwargs):
        asked.append(kwargs)
        return posts(kwargs["subset"])

    monkeypatch.setattr(sklearn.datasets, "fetch_20newsgroups", fetch)
    data = Newsgroups(root=str(tmp_path), vocabulary_size=8, num_validation=3, batch_size=4)
    data.prepare_data()
    data.setup()
    assert [data.num_examples(split) for split in ("train", "val", "test")] == [9, 3, 6]
    assert data.class_names == ["alt.sea", "alt.sky", "sci.soil"]
    assert "train" in data.vocabulary and "test" not in data.vocabulary
    for kwargs in asked:
        assert kwargs["data_home"] == str(tmp_path / "20newsgroups")
        assert kwargs["download_if_missing"] and not kwargs["shuffle"]
        assert kwargs["remove"] == ("headers", "footers", "quotes")
    chosen = Newsgroups(
        root=str(tmp_path), vocabulary_size=8, num_validation=1, batch_size=4, categories=["sci.soil", "alt.sea"]
    )
    chosen.setup()
    assert chosen.class_names == ["alt.sea", "sci.soil"]
    assert torch.bincount(chosen._arrays.train.label).tolist() == [4, 4]
    with pytest.raises(UserError, match=r"no newsgroup 'sci.soul'; did you mean 'sci.soil'"):
        Newsgroups(root=str(tmp_path), categories=["sci.soul", "alt.sea"]).setup()


def test_newsgroups_that_cannot_be_had(tmp_path):
    with pytest.raises(UserError, match=r"20 newsgroups cannot be read from .*20newsgroups") as told:
        Newsgroups(root=str(tmp_path), download=False).prepare_data()
    assert "\n" not in str(told.value)
    with pytest.raises(UserError, match="at least two newsgroups"):
        Newsgroups(categories=["sci.space"])
    with pytest.raises(UserError, match="not 'header'"):
        Newsgroups(remove=["header"])
