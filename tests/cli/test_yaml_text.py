"""YAML says what stands there, or is refused with its line."""

import time
from pathlib import Path

import pytest
import yaml

from lit_gen.cli import yaml_text

REFUSED = {
    "a: 1\nb: 2\na: 3": "'a' stands twice, in lines 1 and 3",
    "a: {b: 1, b: 2}": "'b' stands twice, in line 1",
    "a: 1\n'a': 2": "'a' stands twice, in lines 1 and 2",
    "- x:\n    y: 1\n    z: 2\n    y: 3": "'y' stands twice, in lines 2 and 4",
    "x: &x {a: 1}\ny: {<<: *x, <<: *x}": "write <<: [*a, *b]",
    "a: &a [*a]": "what stands in line 1 contains itself",
    "b: 1\na: &a\n  b: {c: *a}": "what stands in line 2 contains itself",
    "1: x": "'1' in line 1 is none in YAML (int): quote it",
    "a: {null: x}": "'null' in line 1 is none in YAML (null): quote it",
    "on: 3": "'on' in line 1 is none in YAML (bool): quote it",
    "? [a]\n: b": "a key is text, not a list or a mapping as in line 1",
    "a: " + "[" * 50_000: "more than 100 levels of nesting, in line 1",
}


@pytest.mark.parametrize("text", REFUSED, ids=[text[:20] for text in REFUSED])
def test_what_says_two_things_or_none_is_refused(text):
    for read in (yaml_text.load, yaml_text.compose):
        with pytest.raises(yaml_text.Refused) as error:
            read(text)
        assert REFUSED[text] in str(error.value)


def test_what_grows_by_its_aliases_is_refused_before_it_is_built():
    levels = [f"a{i}: &a{i} [{', '.join(['*a' + str(i - 1) if i else 'x'] * 9)}]" for i in range(60)]
    start = time.perf_counter()
    with pytest.raises(yaml_text.Refused, match="by its aliases"):
        yaml_text.load("\n".join(levels))
    assert time.perf_counter() - start < 5  # 9 to the 60th would take longer than the universe


MEANINGS = {
    "None": None,
    "null": None,
    "~": None,
    "": None,
    "'None'": "None",
    "none": "none",
    "1e-3": 0.001,
    "-.5": -0.5,
    ".inf": float("inf"),
    "012": "012",
    "08": "08",
    "0": 0,
    "0x1F": 31,
    "1_000": 1000,
    "1:30": "1:30",
    "10:00:00:00": "10:00:00:00",
    "2026-01-01": "2026-01-01",
    "no": False,
    "True": True,
    "=": "=",
    "${data.x}": "${data.x}",
}


@pytest.mark.parametrize("text", MEANINGS)
def test_what_a_plain_value_means(text):
    assert yaml_text.load(f"a: {text}") == {"a": MEANINGS[text]}
    assert type(yaml_text.load(f"a: {text}")["a"]) is type(MEANINGS[text])


def test_anchors_and_merges_pass():
    text = "x: &x {a: 1, b: [1, 2]}\ny: {<<: *x, a: 2}\nz: [*x, *x]"
    assert yaml_text.load(text)["y"] == {"a": 2, "b": [1, 2]}
    assert yaml_text.load(text)["z"] == [{"a": 1, "b": [1, 2]}] * 2


STRINGS = ["None", "1e-3", "012", "1:30", "2026-01-01", "yes", "${data.x}", "a: b", "x #y", "null", "~", "", "=", "<<"]


@pytest.mark.parametrize("string", STRINGS)
def test_what_is_written_as_text_is_read_as_text_by_every_reader(string):
    written = yaml_text.dump({"a": string, "b": ["x" * 300, string]})
    assert yaml_text.load(written) == {"a": string, "b": ["x" * 300, string]}
    assert yaml.safe_load(written) == yaml_text.load(written)
    assert written.count("\n") == 4, "a line a value"


@pytest.mark.parametrize("config", sorted(Path("conf").glob("*/*.yaml")), ids=str)
def test_the_configs_read_as_before(config):
    text = config.read_text()
    plain = yaml.safe_load(text)
    assert yaml_text.load(text) == plain
    assert yaml_text.load(yaml_text.dump(plain)) == plain
