"""Folders of texts: splits, vocabulary, what is refused."""

import pytest
import torch

from lit_gen.cli.main import main
from lit_gen.data.documents import TextFolder, stratified
from lit_gen.errors import UserError

WORDS = {
    "sea": "ship wave salt sail harbour",
    "sky": "cloud wing wind star feather",
    "soil": "root worm stone seed clay",
}


def write_corpus(folder, counts=(10, 15, 20)):
    """Documents of some words of their category's own and one that all share."""
    for (category, words), count in zip(WORDS.items(), counts, strict=True):
        (folder / category).mkdir(parents=True)
        words = words.split()
        for number in range(count):
            text = " ".join(["blue", *(words[(number + step) % 5] for step in range(1 + number % 3))])
            (folder / category / f"{number:02}.txt").write_text(text)
    return folder


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus")


def small(path, **kwargs):
    return TextFolder(**{"path": str(path), "vocabulary_size": 10, "batch_size": 8, **kwargs})


def test_a_folder_of_categories(corpus):
    (corpus / "sky" / ".DS_Store").write_text("junk junk")
    (corpus / "README").write_text("readme readme")
    data = small(corpus, num_validation=6)
    data.setup()
    assert data.class_names == ["sea", "sky", "soil"]
    assert data.num_classes == 3
    assert [data.num_examples(split) for split in ("train", "val", "test")] == [30, 6, 9]
    assert len(data.vocabulary) == 10 and data.vocabulary[0] == "blue"
    assert not {"junk", "readme"} & set(data.vocabulary)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            torch.testing.assert_close(batch.x.sum(1), torch.ones(len(batch.x)))
            assert batch.x.shape[1:] == data.event_shape
    # Every document of a category has no other category's word.
    (test,) = data.test_dataloader()
    for name, words in WORDS.items():
        rows = test.x[test.label == data.class_names.index(name)]
        seen = {data.vocabulary[column] for column in rows.sum(0).nonzero().flatten().tolist()}
        assert seen <= {"blue", *words.split()}


def test_what_is_no_document_is_passed_over_and_said(corpus, tmp_path):
    before = small(corpus)
    before.setup()
    for name in (".ipynb_checkpoints/a.txt", "sky/.ipynb_checkpoints/b.txt", "sky/.DS_Store", "README"):
        (corpus / name).parent.mkdir(exist_ok=True)
        (corpus / name).write_text("junk junk")
    (corpus / "sky" / "numbers.txt").write_text("1 2 3")
    (corpus / "sky" / "latin.txt").write_bytes("caf\u00e9 blue".encode("latin-1"))
    (corpus / "sand").symlink_to(write_corpus(tmp_path / "elsewhere") / "soil")
    data = small(corpus)
    description = data.description()
    assert data.class_names == ["sand", "sea", "sky", "soil"]
    passed_over = {reason: entry.count for reason, entry in description.passed_over.items()}
    assert passed_over.pop("documents without a word of the vocabulary") == 1
    assert passed_over == {"hidden": 3, "beside the categories' folders": 1}
    assert description.remarks == ["1 documents aren't UTF-8, and such bytes are skipped (sky/latin.txt)"]
    assert sum(size.examples for size in description.splits.values()) == 45 + 20 + 1


def test_the_split_has_its_share_of_every_category_and_stays(corpus):
    first, second = small(corpus), small(corpus)
    first.setup(), second.setup()
    assert torch.bincount(first._arrays.test.label).tolist() == [2, 3, 4]
    assert torch.bincount(first._arrays.train.label).tolist() == [8, 12, 16]
    assert first.fingerprint("test") == second.fingerprint("test")
    label = torch.tensor([0] * 3 + [1] * 7)
    for fraction, wanted in ((0.01, [1, 1]), (0.99, [2, 6]), (0.5, [2, 4])):
        assert label[stratified(label, fraction, ["a", "b"], "")].bincount().tolist() == wanted


def test_the_vocabulary_is_of_the_training_documents_alone(tmp_path):
    train, test = write_corpus(tmp_path / "train"), write_corpus(tmp_path / "test")
    (test / "sea" / "00.txt").write_text("kraken " * 50 + "ship")
    data = small(train, test_path=str(test), vocabulary_size=16)
    data.setup()
    assert "kraken" not in data.vocabulary
    assert data.num_examples("test") == 45
    assert data.lengths("test")[0] == 1


def test_lengths_count_the_vocabularys_words(corpus):
    data = small(corpus, vocabulary_size=16, num_validation=5)
    data.setup()
    for split in ("train", "val", "test"):
        lengths = data.lengths(split)
        assert len(lengths) == data.num_examples(split)
        x = torch.cat([batch.x for batch in data.reference_loader(split)])
        torch.testing.assert_close(x * lengths[:, None], (x * lengths[:, None]).round())
        assert set(lengths.tolist()) <= {2, 3, 4}


def test_documents_without_a_word_are_left_out_and_counted(corpus):
    for number in (0, 1, 2):
        (corpus / "soil" / f"empty{number}.txt").write_text("1234 the of")
    data = small(corpus)
    with pytest.warns(UserWarning, match=r"documents hold none of the 10 words .* left out"):
        data.setup()
    assert data.num_examples("train") + data.num_examples("test") == 45


def test_a_category_of_empty_documents_is_refused(corpus):
    (corpus / "void").mkdir()
    for number in range(4):
        (corpus / "void" / f"{number}.txt").write_text("1234")
    with pytest.warns(UserWarning), pytest.raises(UserError, match="no document of the category 'void'"):
        small(corpus).setup()


def test_bytes_that_are_no_text_do_not_stop_it(corpus):
    (corpus / "sea" / "latin.txt").write_bytes(b"ship caf\xe9 sail blue")
    data = small(corpus, vocabulary_size=17)
    data.setup()
    assert "caf" in data.vocabulary or "sail" in data.vocabulary
    assert data.num_examples("train") + data.num_examples("test") == 46


def test_what_is_wrong_with_a_folder_is_named(corpus, tmp_path):
    def refused(match, **kwargs):
        with pytest.raises(UserError, match=match):
            small(**{"path": corpus, **kwargs}).setup()

    refused("There is no .*nowhere", path=tmp_path / "nowhere")
    refused("fewer than vocabulary_size 18", vocabulary_size=18)
    refused("test_fraction must be between", test_fraction=1.0)
    refused("binarization must be none", binarization="dynamic")
    refused("is a file", path=corpus / "sea" / "00.txt")
    refused("has no folders in it", path=corpus / "sea")
    (corpus / "single").mkdir()
    (corpus / "single" / "a.txt").write_text("blue")
    refused("'single' is a category of one document")
    refused("'single' is in one of them", test_path=str(write_corpus(tmp_path / "other")))
    (corpus / "single" / "a.txt").unlink()
    refused(r"corpus/single is an empty category")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda corpus: (corpus / "void").mkdir(), "is an empty category"),
        (lambda corpus: [f.unlink() for f in (corpus / "sea").iterdir()], "is an empty category"),
        (lambda corpus: corpus.rename(corpus.with_name("moved")), "There is no"),
        (lambda corpus: None, "holds 16 different words, fewer than vocabulary_size 2000"),
    ],
    ids=["empty category", "emptied category", "no folder", "few words"],
)
def test_bad_corpora_on_the_command_line(corpus, capsys, tmp_path, spoil, told):
    spoil(corpus)
    data = ["--data=lit_gen.data.TextFolder", f"--data.path={corpus}"]
    arguments = ["fit", "--config", "conf/autoencoders/documents_docstrings.yaml", *data, f"--runs={tmp_path / 'runs'}"]
    assert main([*arguments, "--trainer.callbacks=[]", "--trainer.fast_dev_run=1"]) == 2
    line = capsys.readouterr().err.strip()
    assert told in line and "\n" not in line and line.startswith("lit-gen: error: ")
