"""What of a command line is a change of its config, and how it names a folder."""

import re

import pytest

from lit_gen.cli.overrides import check_lists, overrides, short_key, suffix
from lit_gen.errors import UserError

BASE = ["--config", "conf/vaes/vae_digits.yaml"]


@pytest.mark.parametrize(
    ("words", "changes", "named"),
    [
        (["--model.beta=4"], {"model.beta": "4"}, "beta=4"),
        (["--model.init_args.beta=0.5", "--seed_everything=1"], None, "beta=0.5-seed=1"),
        (["--trainer.max_epochs=200"], {}, ""),  # as the config has it
        (["--trainer.max_epochs", "3"], {"trainer.max_epochs": "3"}, "max_epochs=3"),
        (["--model.prior.dim=10", "--data.batch_size=64"], {}, ""),
        (["--runs=/tmp/x", "--name=n", "--wandb=false", "--ckpt_path=last"], {}, ""),
        (["--trainer.callbacks=[]"], {"trainer.callbacks": "none"}, ""),
        (["--trainer.callbacks=[{class_path: a.FID}, b.Likelihood]"], {"trainer.callbacks": "FID, Likelihood"}, ""),
        (["--trainer.callbacks+=lit_gen.callbacks.FID"], {"trainer.callbacks+": "FID"}, ""),
        (["--trainer.callbacks=a.FID", "--trainer.callbacks.init_args.num_samples=2"], None, ""),
        (["--data.batch_size=0100"], {"data.batch_size": "0100"}, "batch_size=0100"),  # octal 64 in YAML 1.1
        (["--data.batch_size=1:04"], {"data.batch_size": "1:04"}, "batch_size=1-04"),  # and 64 to base 60
        (["--data=conf/data/fashion_mnist.yaml"], None, "data=fashion_mnist"),
        (["--data.path=/home/me/my pictures/cats.npz"], None, "path=cats"),
        (["--model.objective=lit_gen.objectives.ImportanceWeighted"], None, "objective=ImportanceWeighted"),
        (["--model.objective.class_path=lit_gen.objectives.ELBO"], None, "objective=ELBO"),
        (["--model.encoder.hidden_dims=[100, 50]"], None, "hidden_dims=100-50"),
        (["--model.regularizers=[lit_gen.regularizers.R1]"], None, "regularizers=R1"),
        (["--config", "conf/trainer/smoke.yaml"], {"config": "conf/trainer/smoke.yaml"}, "config=smoke"),
        (["--trainer=conf/trainer/smoke.yaml"], None, "trainer=smoke"),
        (["--stages.fine_tuned.trainer.max_epochs=3"], None, "fine_tuned.max_epochs=3"),
        (["--trainer.max_epochs=-1"], {"trainer.max_epochs": "-1"}, "max_epochs=-1"),
        (["--model.shift=-.5"], None, "shift=-.5"),
        (["--model.optimizer.lr=1e-4"], {"model.optimizer.lr": "1e-4"}, "lr=1e-4"),
    ],
)
def test_changes_and_their_short_name(words, changes, named):
    found = overrides([*BASE, *words])
    assert changes is None or found == changes
    assert suffix(found) == named


def test_what_an_earlier_config_says_is_overruled_by_a_later_one(tmp_path):
    later = tmp_path / "later.yaml"
    later.write_text("trainer: {max_epochs: 7}\n")
    given = [*BASE, "--config", str(later), "--trainer.max_epochs=7"]
    assert set(overrides(given)) == {"config"}


def test_a_part_that_the_config_names_by_its_file_is_looked_up_there(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "digits.yaml").write_text("class_path: lit_gen.data.Digits\ninit_args: {batch_size: 64}\n")
    (tmp_path / "run.yaml").write_text("data: parts/digits.yaml\n")
    base = ["--config", str(tmp_path / "run.yaml")]
    assert overrides([*base, "--data.batch_size=64"]) == {}
    assert overrides([*base, "--data.batch_size=32"]) == {"data.batch_size": "32"}


@pytest.mark.parametrize(
    "word",
    [
        "--trainer.callbacks.every_n_epochs=3",
        "--trainer.callbacks.init_args.every_n_epochs=3",
        "--trainer.callbacks.codes.path=3",
        "--model.encoder.hidden_dims.first=3",
    ],
)
def test_a_key_below_a_list_is_refused(word):
    with pytest.raises(UserError, match=r"(trainer.callbacks|hidden_dims) is a list.* change one entry") as error:
        check_lists([*BASE, word])
    assert str(error.value).startswith(word.split("=")[0] + ": ")


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.callbacks+=lit_gen.callbacks.FID", "--trainer.callbacks.init_args.num_samples=2"],
        ["--trainer.callbacks=lit_gen.callbacks.FID", "--trainer.callbacks.num_samples=2"],
        ["--trainer=conf/trainer/smoke.yaml", "--trainer.max_epochs=2"],
        ["--stages.one.trainer.max_epochs=2"],
        ["--model.encoder.hidden_dims=[3]", "--trainer.callbacks=[]"],
    ],
)
def test_keys_of_an_entry_that_the_command_line_names(words):
    check_lists([*BASE, *words])


def test_a_broken_config_is_left_to_the_parser(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    assert overrides(["--config", str(tmp_path / "a.yaml"), "--model.beta=2"]) == {"model.beta": "2"}
    assert overrides(["--config", str(tmp_path / "none.yaml"), "--model.beta=2"]) == {"model.beta": "2"}


@pytest.mark.parametrize("value", ["../../etc/passwd", "a b\nc", "x" * 300, "ü$(rm)`;", "", "{a: [1, 2]}", "${data.x}"])
def test_a_suffix_is_a_harmless_short_name(value):
    named = suffix({"model.odd key": value, "model.beta": "4", "trainer.max_epochs": "3"}, "test")
    assert re.fullmatch(r"test[A-Za-z0-9=._-]*", named)
    assert len(named) <= 40


def test_a_verb_other_than_fit_comes_first():
    assert suffix({}, "fit") == ""
    assert suffix({"data.batch_size": "8"}, "test") == "test-batch_size=8"


def test_whole_changes_only_as_many_as_fit():
    changes = {f"model.argument_{k}": "1234567" for k in range(9)}
    assert suffix(changes) == "argument_0=1234567-argument_1=1234567"


def test_keys_without_what_every_part_has():
    assert short_key("model.init_args.prior.init_args.dim") == "model.prior.dim"
