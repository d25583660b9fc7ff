"""A corpus that is on every machine: the documentation in the packages that this one needs."""

import ast
import hashlib
import importlib.util
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from lit_gen.atomic_file import replacing
from lit_gen.cache import cache_folder
from lit_gen.data.array_file import check_fraction
from lit_gen.data.bag_of_words import WORD
from lit_gen.data.documents import TextDocuments, Texts, split_by_category
from lit_gen.errors import UserError

TOPICS: dict[str, list[str]] = {
    "arrays": ["numpy"],
    "statistics": ["scipy.stats"],
    "signals": ["scipy.signal", "scipy.ndimage", "scipy.interpolate"],
    "optimization": ["scipy.optimize"],
    "linear algebra": ["scipy.linalg", "scipy.sparse"],
    "machine learning": ["sklearn"],
    "plotting": ["matplotlib"],
    "graphs": ["networkx"],
    "symbolic algebra": [
        f"sympy.{part}" for part in ("core", "functions", "solvers", "simplify", "integrals", "series")
    ],
    "neural networks": ["torch.nn"],
    "distributed computing": ["torch.distributed"],
    "internet": ["asyncio", "email", "http", "urllib", "xml"],
}
"""Categories, and the packages whose documentation is about them: the standard library's and those that are installed
with this package."""

_FORMAT = 1  # of the cached file
_TESTS = re.compile(r"^(tests?|testing|test_.*|conftest)$")


class Docstrings(TextDocuments):
    """Docstrings of modules and of public classes, functions and methods, each a document of its package's topic.

    They are found in the packages' source files, of which nothing is imported or run. Examples of code (lines that
    begin with ``>>>`` or ``...``) are left out; of equal docstrings only the first of a topic counts. What is read is
    kept in the cache folder until a file changes. The corpus follows the versions that are installed: compare figures
    of one machine, or look at the data's fingerprint.

    Args:
        topics: packages or modules of each category, as ``scipy.stats``; None for ``TOPICS``, about 7,000 documents.
        min_words: shorter docstrings are left out.
        max_per_topic: of more docstrings as many are taken, evenly spaced through the sources.
        test_fraction: share of each topic that is the test split, always the same documents.
        num_validation: documents of the others held out.
        **kwargs: as in ``TextDocuments``.
    """

    def __init__(
        self,
        topics: dict[str, list[str]] | None = None,
        min_words: int = 25,
        max_per_topic: int = 800,
        test_fraction: float = 0.2,
        num_validation: int = 500,
        **kwargs,
    ) -> None:
        super().__init__(num_validation=num_validation, **kwargs)
        check_fraction(test_fraction)
        if min(min_words, max_per_topic) < 1:
            raise UserError("Docstrings: min_words and max_per_topic must be at least 1.")
        self.topics = TOPICS if topics is None else topics
        if not self.topics or not all(self.topics.values()):
            raise UserError("Docstrings: topics must name at least one category, and packages for each.")
        self.min_words = min_words
        self.max_per_topic = max_per_topic
        self.test_fraction = test_fraction

    def prepare_data(self) -> None:
        """Collect the docstrings into the cache, in one process."""
        self._collect()

    def read_texts(self) -> tuple[Texts, Texts]:
        """From the cache, or from the packages' sources.

        Raises:
            UserError: a package isn't installed, or a topic has fewer than two docstrings.
        """
        documents = self._collect()
        self.class_names = sorted(documents)
        return split_by_category(documents, self.test_fraction, "the docstrings of installed packages")

    def _collect(self) -> dict[str, list[str]]:
        files = {topic: [f for name in names for f in source_files(name)] for topic, names in self.topics.items()}
        digest = hashlib.sha256(repr((_FORMAT, self.min_words)).encode())
        for topic, paths in files.items():
            for path in paths:
                status = path.stat()
                digest.update(repr((topic, str(path), status.st_size, status.st_mtime_ns)).encode())
        cached = cache_folder() / "documents" / f"{digest.hexdigest()[:32]}.json"
        documents = _read_cached(cached)
        if documents is None:
            documents = {topic: self._docstrings_of(paths) for topic, paths in files.items()}
            _write_cached(cached, documents)
        return {topic: evenly_spaced(texts, self.max_per_topic) for topic, texts in documents.items()}

    def _docstrings_of(self, files: list[Path]) -> list[str]:
        found = dict.fromkeys(text for file in files for text in docstrings(file))  # each once, in order
        return [text for text in found if len(re.findall(WORD, text.lower())) >= self.min_words]


def source_files(name: str) -> list[Path]:
    """The source files of an installed package or module but for its tests, sorted; nothing is imported.

    Files whose names begin with an underscore are among them: many packages keep there what they show elsewhere.

    Raises:
        UserError: it isn't installed, or it isn't written in Python.
    """
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    path = None if spec is None or not spec.origin else Path(spec.origin)
    if path is not None and path.name == "__init__.py":
        path = path.parent.joinpath(*rest)
        path = path if path.is_dir() else path.with_suffix(".py")
    elif rest:
        path = None
    if path is None or not path.exists() or not (path.is_dir() or path.suffix == ".py"):
        raise UserError(f"Docstrings: there are no sources of {name!r} on this machine; install it or take it out.")
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*.py") if not _is_test(file.relative_to(path)))


def _is_test(file: Path) -> bool:
    return any(_TESTS.match(part) for part in (*file.parts[:-1], file.stem))


def docstrings(file: Path) -> Iterator[str]:
    """Docstrings of a source file's public parts, its own first, without examples of code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about others' escape sequences
            module = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # a template, or of another version of the language
        return
    for node in _public_nodes(module):
        text = ast.get_docstring(node)
        if text:
            yield "\n".join(line for line in text.splitlines() if not line.lstrip().startswith((">>>", "...")))


def _public_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in node.body if isinstance(node, ast.Module | ast.ClassDef) else ():
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if named and not child.name.startswith("_"):
            yield from _public_nodes(child)


def evenly_spaced(texts: list[str], count: int) -> list[str]:
    """At most ``count`` of the texts, in order."""
    return texts if len(texts) <= count else [texts[number * len(texts) // count] for number in range(count)]


def _read_cached(file: Path) -> dict[str, list[str]] | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or damaged
        return None


def _write_cached(file: Path, documents: dict[str, list[str]]) -> None:
    try:
        with replacing(file) as part:
            part.write_text(json.dumps(documents), encoding="utf-8")
    except OSError as error:
        warnings.warn(f"The docstrings couldn't be kept in {file.parent} ({error.strerror}).", stacklevel=2)
