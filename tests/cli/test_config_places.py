"""Where a key stands that a message is about."""

import pytest

from lit_gen.cli.config_places import located

MAIN = """
data: part.yaml
model:
  class_path: pkg.VAE
  init_args:
    encoder:
      class_path: pkg.MLP
      init_args: {hidden_dims: [3]}
    decoder:
      class_path: pkg.MLP
      init_args: {hidden_dims: [many]}
trainer:
  max_epochs: many
  callbacks:
    - class_path: pkg.FID
      init_args:
        num: few
name: no
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "main.yaml").write_text(MAIN)
    (tmp_path / "part.yaml").write_text("class_path: pkg.Digits\ninit_args:\n  size: 3\n")
    (tmp_path / "later.yaml").write_text("model:\n  init_args:\n    encoder: {init_args: {hiden: 3}}\n")
    return tmp_path


CASES = {
    "trainer.max_epochs: Expected an int, got many": "({0}/main.yaml, line 13)",
    "there is no key 'hiden'; there are x (in pkg.MLP)": "(in model.encoder, a pkg.MLP; {0}/later.yaml, line 3)",
    "data: size: Expected a str. Got value: 3 (in pkg.Digits)": "(in data, a pkg.Digits; {0}/part.yaml, line 3)",
    "model: hidden_dims: Got value: many (in pkg.MLP)": "(in model.decoder, a pkg.MLP; {0}/main.yaml, line 11)",
    "trainer.callbacks: num: got few (in pkg.FID)": "(in trainer.callbacks.0, a pkg.FID; {0}/main.yaml, line 17)",
    "name: Expected a str, got False": "({0}/main.yaml, line 18; no is a truth value in YAML, quote it for text)",
    "there is no key 'size'; there are a, b": "; there is data.size (on the command line)",
    "model: other: got this (in pkg.VAE)": "(in model, a pkg.VAE; on the command line)",
}


@pytest.mark.parametrize("message", CASES)
def test_the_place_of_a_mistake(files, message):
    words = [f"--config={files / 'main.yaml'}", f"--config={files / 'later.yaml'}", "--size=3", "--model.other=this"]
    assert located(message, words).endswith(CASES[message].format(files))


LATER = {
    "of an option, whose name and value are said": (
        ["--model.beta=-1"],
        "model: beta, the weight, must not be negative, got -1.0",
        " (on the command line)",
    ),
    "of a key in the file, whose name and value are said": (
        ["--model.prior=x"],
        "data: size must be at most 2, got 3",
        " ({0}/part.yaml, line 3)",
    ),
    "of a list within a part": (
        ["--model.encoder.hidden_dims=[0]"],
        "model.encoder: hidden_dims must be at least 1, got [0]",
        " (on the command line)",
    ),
    "of an option whose value alone is said": (
        ["--trainer.max_time=xx"],
        "trainer: `Timer(duration='xx')` is no duration",
        " (in trainer.max_time; on the command line)",
    ),
    "an option that isn't meant": (
        ["--model.prior=4"],
        "model.encoder: hidden_dims must be at least 1, got [3]",
        " ({0}/main.yaml, line 8)",
    ),
    "an option that may be meant": (["--model.prior=4"], "model: this does not fit", ""),
    "options that may both be meant": (["--model.a=7", "--model.b=7"], "model: a and b are both 7", ""),
    "a later list, not the file's": (
        ["--trainer.callbacks=[pkg.FIDD]"],
        "trainer.callbacks: module 'pkg' has no attribute 'FIDD'; the nearest right one is 'pkg.FID'",
        " (on the command line)",
    ),
    "without an option": ([], "model: this does not fit", " ({0}/main.yaml, line 4)"),
}


@pytest.mark.parametrize("case", LATER)
def test_the_place_that_a_constructors_words_are_about(files, case):
    words, message, place = LATER[case]
    assert located(message, [f"--config={files / 'main.yaml'}", *words]) == message + place.format(files)


REQUIRED = {
    "--model.likelihood=pkg.Normal": "dim (in model.likelihood, a pkg.Normal; on the command line)",
    "--model.likelihood={class_path: pkg.Normal}": "dim (in model.likelihood, a pkg.Normal; on the command line)",
    "--model.likelihood.class_path=pkg.Normal": "dim (in model.likelihood, a pkg.Normal; on the command line)",
    "--model.likelihood={class_path: pkg.Normal, init_args: {dim: null}}": (
        "model: model.likelihood.dim: it is null, but pkg.Normal needs it (on the command line)"
    ),
    "--model.likelihood={class_path: pkg.Normal, init_args: {dim: 3}}": "required: dim (in pkg.Normal)",
}


@pytest.mark.parametrize("word", REQUIRED)
def test_the_part_that_lacks_an_argument(files, word):
    message = "model: the following arguments are required: dim (in pkg.Normal)"
    told = located(message, [f"--config={files / 'main.yaml'}", word])
    assert told.endswith(REQUIRED[word].removeprefix("model: "))


def test_of_several_that_are_wrong_in_the_same_way_the_first_is_named(files):
    words = [f"--config={files / 'main.yaml'}", "--model.decoder.hiden=1", "--model.encoder.hiden=2"]
    found = located("there is no key 'hiden' (in pkg.MLP)", words)
    assert found == "there is no key 'hiden' (in model.decoder, a pkg.MLP; on the command line)"


UNKNOWN = [
    "model: hidden_dims: Expected a list (in pkg.MLP)",  # two of them, and nothing says which
    "there is no key 'nowhere'; there are x (in pkg.MLP)",
    "no words about a key",
    "cannot read the file x: y",
]


@pytest.mark.parametrize("message", UNKNOWN)
def test_where_the_place_is_not_known_the_message_stays(files, message):
    assert located(message, [f"--config={files / 'main.yaml'}"]) == message


def test_the_last_of_several_is_the_one_that_holds(files):
    words = [f"--config={files / 'main.yaml'}", "--stages.two.trainer.max_epochs=some"]
    message = "stage 'two': trainer.max_epochs: Expected an int, got some"
    assert located(message, words) == f"{message} (on the command line)"


def test_a_message_stays_within_a_line(files):
    message = "trainer.max_epochs: " + "x" * 350
    assert located(message, [f"--config={files / 'main.yaml'}"]) == message
