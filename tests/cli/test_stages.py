"""Reading a config with stages: what lies over what, and which word is whose."""

import pytest
import yaml

from lit_gen.cli.stages import laid_over, nearest, read, whole
from lit_gen.errors import UserError

CONFIG = """
data: {class_path: D, init_args: {size: 8, batch: 64}}
trainer: {max_epochs: 2, callbacks: [a, b]}
stages:
  - name: one
    model: {class_path: M}
  - name: two
    start_from: {net.0: one.net}
    model: {class_path: N}
    data: {init_args: {batch: 32}}
    trainer: {callbacks: [c]}
    monitor: val/loss
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "staged.yaml"
    path.write_text(CONFIG)
    return path


def merged(stage, at: int = 0) -> dict:
    """The config among a stage's words."""
    words = [word for word in stage.arguments if word.startswith("--config=") and "\n" in word]
    return yaml.safe_load(words[at].removeprefix("--config="))


def test_mappings_are_merged_and_everything_else_replaced():
    below = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert laid_over(below, {"a": {"c": [3]}, "e": 4}) == {"a": {"b": 1, "c": [3]}, "d": 3, "e": 4}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_another_class_replaces_and_the_same_class_is_merged():
    below = {"class_path": "A", "init_args": {"x": 1, "y": 2}}
    assert laid_over(below, {"class_path": "B", "init_args": {"z": 3}}) == {"class_path": "B", "init_args": {"z": 3}}
    same = laid_over(below, {"class_path": "A", "init_args": {"x": 5}})
    assert same == laid_over(below, {"init_args": {"x": 5}}) == {"class_path": "A", "init_args": {"x": 5, "y": 2}}


def test_each_stage_is_laid_over_what_they_share(config):
    one, two = read(["--config", str(config)])
    assert (one.number, one.name, one.start_from) == (1, "one", {})
    assert (two.number, two.name, two.start_from) == (2, "two", {"net.0": "one.net"})
    shared = {"class_path": "D", "init_args": {"size": 8, "batch": 64}}
    assert merged(one) == {
        "name": "staged",
        "data": shared,
        "trainer": {"max_epochs": 2, "callbacks": ["a", "b"]},
        "model": {"class_path": "M"},
    }
    assert merged(two) == {
        "name": "staged",
        "data": {"class_path": "D", "init_args": {"size": 8, "batch": 32}},
        "trainer": {"max_epochs": 2, "callbacks": ["c"]},
        "model": {"class_path": "N"},
        "monitor": "val/loss",
    }


def test_words_are_for_every_stage_or_for_one(config, tmp_path):
    later = tmp_path / "later.yaml"
    later.write_text("monitor: x\n")
    words = [
        "--wandb=false",
        "-c",
        str(config),
        "--stages.two.trainer.max_epochs",
        "7",
        "--config",
        str(later),
        "--x=1",
    ]
    one, two = read(words)
    assert one.arguments[0] == two.arguments[0] == "--wandb=false"
    assert one.arguments[2:] == ["--config", str(later), "--x=1"]
    assert two.arguments[2:] == ["--config", str(later), "--x=1", "--trainer.max_epochs=7"]
    assert (one.own, two.own) == ([], ["--trainer.max_epochs=7"])


def test_a_config_without_stages_has_none(config, tmp_path):
    config.write_text(CONFIG.split("stages:")[0])
    assert read(["--config", str(config)]) is None
    config.write_text("stages: null\n")
    assert read([f"--config={config}"]) is None
    config.write_text("stages: [1, 2\n")  # for the parser to say
    assert read([f"--config={config}"]) is None
    assert read(["--config", str(tmp_path / "nowhere.yaml")]) is None
    with pytest.raises(UserError, match="none of the configs has stages"):
        read(["--config", str(config), "--stages.two.trainer.max_epochs=3"])


def test_files_named_by_a_config_lie_beside_it(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "d.yaml").write_text("class_path: D\ninit_args: {net: n.yaml, batch: 64}\n")
    (tmp_path / "data" / "n.yaml").write_text("class_path: N\n")
    (tmp_path / "conf").mkdir()
    config = tmp_path / "conf" / "staged.yaml"
    config.write_text("data: ../data/d.yaml\nstages: [{name: a, data: {init_args: {batch: 3}}}, {name: b}]\n")
    monkeypatch.chdir(tmp_path / "data")
    a, b = (merged(stage) for stage in read(["--config", "../conf/staged.yaml"]))
    nested = str(tmp_path / "data" / "n.yaml")
    assert a["data"] == {"class_path": "D", "init_args": {"net": nested, "batch": 3}}
    assert b["data"] == {"class_path": "D", "init_args": {"net": nested, "batch": 64}}


def test_strings_stay_strings(config):
    config.write_text("data: {a: '1e-3', b: 1e-3, c: 'null', d: '${data.x}', e: .inf}\nstages: [{name: a}]\n")
    (a,) = read(["--config", str(config)])
    assert merged(a)["data"] == {"a": "1e-3", "b": 0.001, "c": "null", "d": "${data.x}", "e": float("inf")}


MISTAKES = {
    "stages: []": "the list of stages is empty",
    "stages: {name: a}": "must be a list",
    "stages: [a]": "must be a list",
    "stages: [{model: 3}]": "stage 1 has no name",
    "stages: [{name: a}, {name: b}, {name: a}]": "two stages are named 'a'",
    "stages: [{name: a.b}]": "letters, digits, _ and - only",
    "stages: [{name: a, runs: there}]": "stage 'a': 'runs' is the whole run's",
    "stages: [{name: a, start_form: b}]": "no key 'start_form'; the nearest right one is 'start_from'",
    "stages: [{name: a, start_from: [b]}]": "stage 'a': start_from maps prefixes",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_in_the_list(config, text):
    config.write_text(text)
    with pytest.raises(UserError) as told:
        read(["--config", str(config)])
    assert MISTAKES[text] in str(told.value)


WORDS = {
    "--stages.tow.trainer.max_epochs=3": "there is no stage 'tow'; the nearest is 'two'",
    "--stages.two=3": "write --stages.<name>.<key>=<value>",
    "--stages=[]": "write --stages.<name>.<key>=<value>",
    "--stages.two.trainer.max_epochs": "write --stages.<name>.<key>=<value>",
}


@pytest.mark.parametrize("word", WORDS)
def test_mistakes_among_the_words(config, word):
    with pytest.raises(UserError) as told:
        read(["--config", str(config), word])
    assert WORDS[word] in str(told.value)


def test_two_files_with_stages(config, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG)
    with pytest.raises(UserError, match="both have stages"):
        read(["--config", str(config), "--config", str(other)])


def test_the_whole_runs_config_keeps_interpolations_by_stage(config):
    """Equal words that stand for other values are not what the stages share."""
    text = "a: ${{data.size}}\ndata: {{init_args: {{size: {0}}}}}\nb: ${{data.init_args.size}}\n"
    one, two = read(["--config", str(config)])
    equal = whole([one, two], {"one": text.format(1), "two": text.format(1)})
    assert equal.startswith("a: ${data.size}  # 1\n")
    assert equal.count("${data.size}") == 1
    other = whole([one, two], {"one": text.format(1), "two": text.format(2)})
    assert "  a: ${data.size}  # 1\n" in other
    assert "  a: ${data.size}  # 2\n" in other


def test_nearest_names():
    assert nearest("tow", ["one", "two"]) == "; the nearest is 'two'"
    assert nearest("xyzzy", ["one"]) == "; there is one"
    assert nearest("xyzzy", []) == "; there are none"
