"""The corpus of docstrings: what is collected, without importing it, and how it is kept."""

import json
import sys
import time

import pytest

from lit_gen.data.docstrings import TOPICS, Docstrings, docstrings, evenly_spaced, source_files
from lit_gen.errors import UserError

SOURCE = '''
"""The module\'s own words."""
raise RuntimeError("run")

class Public:
    """A class.

    >>> Public()
    an answer
    ... never seen
    """
    def method(self):
        """Method of words."""
    def _hidden(self):
        """Hidden words."""

def _private():
    """Private words."""

async def later():
    "Later words."

def outer():
    def inner():
        """Inner words."""
'''
LONG = '"""{} """\ndef same():\n    """shared words that each module repeats again somewhere"""\n'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that nobody could import."""
    folder = tmp_path / "sources" / "stand_in"
    for name in ("alpha", "beta", "beta/tests"):
        (folder / name).mkdir(parents=True)
    (folder / "__init__.py").write_text(SOURCE)
    for name in ("alpha", "beta"):
        words = {"alpha": "apple pear plum grape fig lime", "beta": "bolt screw nut washer nail hinge"}[name].split()
        for number in range(6):
            text = " ".join([name, "common", *(words[(number + step) % 6] for step in range(4))])
            (folder / name / f"_m{number}.py").write_text(LONG.format(text))
    (folder / "beta" / "tests" / "test_it.py").write_text(LONG.format("tested " * 9))
    (folder / "beta" / "broken.py").write_text("def (:\n")
    (folder / "single.py").write_text(LONG.format("single " * 9))
    monkeypatch.syspath_prepend(tmp_path / "sources")
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "cache"))
    return folder


def test_public_docstrings_without_code(package):
    assert list(docstrings(package / "__init__.py")) == [
        "The module's own words.",
        "A class.\n\nan answer",
        "Method of words.",
        "Later words.",
    ]
    assert list(docstrings(package / "beta" / "broken.py")) == []


def test_sources_are_found_without_importing(package):
    assert [path.name for path in source_files("stand_in.alpha")] == [f"_m{n}.py" for n in range(6)]
    assert [path.name for path in source_files("stand_in.single")] == ["single.py"]
    assert not any("tests" in path.parts for path in source_files("stand_in.beta"))
    assert "stand_in" not in sys.modules
    for name in ("no_such_package", "stand_in.no_such_module", "sys", "..", "json.decoder.JSONDecoder"):
        with pytest.raises(UserError, match=r"no sources of"):
            source_files(name)


def corpus(**kwargs):
    topics = {"fruit": ["stand_in.alpha"], "hardware": ["stand_in.beta"]}
    arguments = {"topics": topics, "min_words": 6, "vocabulary_size": 16, "num_validation": 0, "batch_size": 4}
    return Docstrings(**{**arguments, **kwargs})


def test_topics_are_categories_and_equal_docstrings_count_once(package):
    data = corpus()
    data.setup()
    assert data.class_names == ["fruit", "hardware"]
    # In each topic six modules' own docstrings and one that they all share.
    assert data.num_examples("train") + data.num_examples("test") == 14
    assert data.num_examples("test") == 2
    assert {"alpha", "bolt", "common"} <= set(data.vocabulary)
    assert not {"tested", "single"} & set(data.vocabulary)
    assert corpus(max_per_topic=3).read_texts()[0].label.bincount().tolist() == [2, 2]
    assert corpus(min_words=7)._collect()["fruit"] == ["shared words that each module repeats again somewhere"]


def test_kept_until_a_file_changes(package, tmp_path):
    first = corpus()._collect()
    (kept,) = (tmp_path / "cache" / "documents").glob("*.json")
    assert json.loads(kept.read_text()) == first
    kept.write_text(json.dumps({**first, "fruit": ["from the cache"]}))
    assert corpus()._collect()["fruit"] == ["from the cache"]
    kept.write_text("{damaged")
    assert corpus()._collect() == first
    (package / "alpha" / "_m0.py").write_text(LONG.format("alpha common kiwi kiwi kiwi kiwi kiwi"))
    assert any("kiwi" in text for text in corpus()._collect()["fruit"])


def test_without_a_cache_it_is_read_again(package, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIT_GEN_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="couldn't be kept"):
        assert len(corpus()._collect()["fruit"]) == 7


def test_arguments_out_of_range(package):
    for kwargs, match in [
        ({"topics": {}}, "at least one category"),
        ({"topics": {"none": []}}, "at least one category"),
        ({"min_words": 0}, "at least 1"),
        ({"max_per_topic": 0}, "at least 1"),
        ({"test_fraction": 0.0}, "test_fraction"),
    ]:
        with pytest.raises(UserError, match=match):
            corpus(**kwargs)
    with pytest.raises(UserError, match="'fruit' is an empty category"):
        corpus(topics={"fruit": ["stand_in.beta.broken"], "hardware": ["stand_in.beta"]}).setup()


def test_evenly_spaced():
    assert evenly_spaced(list("abcdefgh"), 4) == ["a", "c", "e", "g"]
    assert evenly_spaced(list("abc"), 4) == ["a", "b", "c"]


def test_every_package_of_the_topics_comes_with_this_one():
    """Names alone: reading all of them is left to the config's own test."""
    for names in TOPICS.values():
        for name in names:
            started = time.perf_counter()
            assert source_files(name)
            assert time.perf_counter() - started < 30
