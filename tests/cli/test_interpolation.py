"""Interpolations: short paths, and a run's own config, which keeps them and resolves to the same."""

import pytest
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_gen.cli import interpolation
from lit_gen.cli.interpolation import Kept, full_path, short_path

DATA = {"class_path": "D", "init_args": {"image_shape": [1, 8, 8], "size": 64}}


def test_short_paths():
    assert full_path("data.image_shape") == "data.init_args.image_shape"
    assert full_path("model.prior.dim") == "model.init_args.prior.init_args.dim"
    assert full_path("model.init_args.prior") == "model.init_args.prior"
    assert full_path("model.regularizers.0.weight") == "model.init_args.regularizers.0.init_args.weight"
    for path in ("data.image_shape", "model.prior.dim", "model.regularizers.0.weight"):
        assert short_path(full_path(path)) == path


def test_expansion_reaches_into_lists_and_leaves_other_roots():
    given = {"a": ["${data.size}", "${trainer.max_epochs}"], "b": "${data.image_shape[1]}"}
    expected = {"a": ["${data.init_args.size}", "${trainer.max_epochs}"], "b": "${data.init_args.image_shape[1]}"}
    assert interpolation.expand(given) == expected


def kept(unresolved: dict) -> str:
    resolved = OmegaConf.to_container(OmegaConf.create(unresolved), resolve=True)
    return interpolation.keep(yaml.safe_dump(resolved), unresolved)


def test_what_is_kept_stands_in_short_with_its_value():
    text = kept(
        {"data": DATA, "model": {"shape": "${data.init_args.image_shape}", "n": [{"x": "${data.init_args.size}"}]}}
    )
    assert "  shape: ${data.image_shape}  # [1, 8, 8]\n" in text
    assert "  - x: ${data.size}  # 64\n" in text
    assert yaml.safe_load(text)["model"]["shape"] == "${data.image_shape}"


def test_what_is_kept_resolves_to_the_same_and_follows_a_change():
    unresolved = {"data": DATA, "a": "${b}", "b": "${data.init_args.size}", "c": {"d": "${data.init_args}"}}
    again = interpolation.expand(yaml.safe_load(kept(unresolved)))
    resolved = OmegaConf.to_container(OmegaConf.create(unresolved), resolve=True)
    assert OmegaConf.to_container(OmegaConf.create(again), resolve=True) == resolved
    again["data"]["init_args"]["size"] = 5
    changed = OmegaConf.to_container(OmegaConf.create(again), resolve=True)
    assert (changed["a"], changed["b"], changed["c"]["d"]["size"]) == (5, 5, 5)


def test_what_would_say_something_else_later_is_kept_as_its_value(monkeypatch):
    monkeypatch.setenv("SIZE", "7")
    unresolved = {"a": "${oc.env:SIZE}", "b": "runs/${name}", "name": None}
    text = interpolation.keep("a: '7'\nb: runs/None\nname: vae\n", unresolved)
    assert yaml.safe_load(text) == {"a": "7", "b": "runs/None", "name": "vae"}
    # Here the reference would now give another value, as the name was not known when it was resolved.
    text = interpolation.keep("c: null\nname: vae\n", {"c": "${name}", "name": None})
    assert yaml.safe_load(text) == {"c": None, "name": "vae"}


def test_a_value_converted_by_its_type_is_kept_as_an_interpolation():
    text = interpolation.keep("beta: 200.0\nepochs: 200\n", {"beta": "${epochs}", "epochs": 200})
    assert text == "beta: ${epochs}  # 200.0\nepochs: 200\n"


def test_a_config_without_interpolations_is_left_alone():
    assert interpolation.keep("# title\na: 1\n", None) == "# title\na: 1\n"


def test_the_heading_is_kept_and_long_values_are_cut():
    text = interpolation.keep(f"# title\na: {list(range(100))}\nb: {list(range(100))}\n", {"a": "${b}"})
    assert text.startswith("# title\na: ${b}  # [0, 1, 2,")
    assert text.splitlines()[1].endswith("…")
    assert yaml.safe_load(text)["b"] == list(range(100))


def test_read_kept_tells_equal_words_of_other_values_apart():
    first = interpolation.read_kept("a: ${data.size}\ndata: {init_args: {size: 1}}\n")
    second = interpolation.read_kept("a: ${data.size}\ndata: {init_args: {size: 2}}\n")
    assert first["a"] == Kept("${data.size}", 1)
    assert first["a"] != second["a"]
    assert interpolation.dump(second).startswith("a: ${data.size}  # 2\n")


EXPLAINED = {
    "${data.init_args.imageshape}": ("no key 'data.imageshape'", "nearest right one is 'data.image_shape'"),
    "${dta.init_args.size}": ("no key 'dta.size'", "nearest right one is 'data.size'"),
    "${data.init_args.size.x}": ("${data.size.x}", ""),
    "${data.init_args.image_shape[7]}": ("${data.image_shape[7]}", ""),
    "${model.a}": ("${model.a} leads back to itself", ""),
    "${data.init_args.size": ("'${data.init_args.size' is no interpolation", "write ${data.image_shape}"),
    "${}": ("is no interpolation", ""),
    "${oc.env:NOWHERE}": ("Environment variable 'NOWHERE' not found", ""),
}


def test_a_null_part_is_named_and_not_the_interpolation_of_its_key():
    tree = {"model": {"init_args": {"prior": None, "dim": "${model.init_args.prior.init_args.dim}"}}}
    with pytest.raises(OmegaConfBaseException) as error:
        OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    place, reason = interpolation.explained(error.value, tree)
    assert place == "model.prior"
    assert "it is null, but model.dim is ${model.prior.dim}" in reason


@pytest.mark.parametrize("text", EXPLAINED)
def test_why_an_interpolation_cannot_be_resolved(text):
    tree = {"data": DATA, "model": {"init_args": {"z": 1}, "a": text}, "good": "${data.init_args.size}"}
    with pytest.raises(OmegaConfBaseException) as error:
        OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    place, reason = interpolation.explained(error.value, tree)
    assert place == "model.a"
    for words in EXPLAINED[text]:
        assert words in reason
