"""Configs that say something else than what stands there, and cures that are the right ones."""

from pathlib import Path

import pytest
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from lit_gen.cli.main import main

CONFIG = Path("conf/vaes/vae_digits.yaml")

LATER = {
    "trainer: {max_epochs: 3}\ntrainer: {max_steps: 4}\n": ["'trainer' stands twice, in lines 1 and 2"],
    "model:\n  init_args:\n    beta: 1\n    posterior: {}\n    beta: 2\n": ["'beta' stands twice, in lines 3 and 5"],
    "a: &a [*a]\n": ["what stands in line 1 contains itself"],
    "model: &m {init_args: {beta: *m}}\n": ["what stands in line 1 contains itself"],
    "trainer: " + "[" * 3000 + "]" * 3000: ["more than 100 levels of nesting"],
    "1: x\n": ["'1' in line 1 is none in YAML"],
    "null: x\n": ["'null' in line 1 is none in YAML"],
    "model:\n": ["'model' is null: give it a value"],
    "trainer: ~\n": ["'trainer' is null"],
    "data: None\n": ["'data' is null"],
    "trainer: short\n": ["trainer: there is no file"],
    "data: ../data/nowhere.yaml\n": ["there is no file", "nowhere.yaml"],
    "model: {class_path: lit_gen.models.VAE, beta: 3}\n": ["'beta' in line 1 stands beside class_path", "init_args"],
    "model: {class_path: lit_gen.models.VAE, init_args: }\n": ["init_args in line 1 is null"],
    "name: no\n": ["name: Expected a str", "line 1", "no is a truth value in YAML, quote it for text"],
    "trainer: {max_epochs: 1:30}\n": ["trainer.max_epochs: Expected an int, got 1:30", "line 1"],
    "max_epochs: 3\n": ["there is trainer.max_epochs", "line 1"],
    "\nmodel:\n  init_args:\n    encoder:\n      init_args:\n        hiden_dims: [3]\n": [
        "no key 'hiden_dims'; the nearest right one is 'hidden_dims'",
        "(in model.encoder, a lit_gen.networks.MLP; ",
        "later.yaml, line 6)",
    ],
    "model: {init_args: {encoder: {init_args: {hiden_dims: [3]}},\n  decoder: {init_args: {hiden_dims: [3]}}}}\n": [
        "(in model.encoder, a lit_gen.networks.MLP; ",
        "later.yaml, line 1)",
    ],
    "model: {init_args: {beta: -1}}\n": ["got -1.0 (", "later.yaml, line 1)"],
    "model: {init_args:\n  {prior: null}}\n": ["model.prior: it is null", "later.yaml, line 2)"],
    'model: {init_args: {beta: "${data.imageshape}"}}\n': [
        "model.beta: ${data.imageshape}: there is no key",
        "nearest right one is 'data.image_shape'",
        "line 1",
    ],
    'model: {init_args: {beta: "${model.beta}"}}\n': ["model.beta: ${model.beta} leads back to itself"],
    'model: {init_args: {beta: "${model.beta"}}\n': ["model.beta: '${model.beta' is no interpolation"],
    'model: {init_args: {encoder: {init_args: {hidden_dims: ["${model.prior.dim}"]}}}}\n': [
        "an interpolation is a key's whole value, no item of a list",
        "in model.encoder",
    ],
    "name: ../../x\n": ["name: '../../x' cannot name a run's folder", "line 1"],
    "data: {class_path: lit_gen.data.Digitz}\n": ["the nearest right one is 'lit_gen.data.Digits'", "line 1"],
    "data: [1]\n": ["Not a valid subclass of LightningDataModule", "line 1"],
}


@pytest.fixture
def later(tmp_path) -> Path:
    return tmp_path / "later.yaml"


@pytest.mark.parametrize("text", LATER, ids=[text[:40] for text in LATER])
def test_a_file_that_says_something_else(refused_fit, later, text):
    later.write_text(text)
    message = refused_fit("--config", str(later))
    for words in LATER[text]:
        assert words in message


@pytest.mark.parametrize("part", ["data", "model", "trainer"])
def test_a_doubled_key_in_a_parts_own_file(refused_fit, tmp_path, part):
    (tmp_path / "part.yaml").write_text("class_path: x\nclass_path: y\n")
    (tmp_path / "naming.yaml").write_text(f"{part}: part.yaml\n")
    (tmp_path / "staged.yaml").write_text(f"stages: [{{name: one, {part}: part.yaml}}]\n")
    expected = f"{tmp_path / 'part.yaml'}: 'class_path' stands twice, in lines 1 and 2"
    for words in (
        [f"--{part}={tmp_path / 'part.yaml'}"],
        ["--config", str(tmp_path / "naming.yaml")],
        ["--config", str(tmp_path / "staged.yaml")],
    ):
        assert expected in refused_fit(*words)


def test_a_doubled_key_in_a_file_below_a_part(refused_fit, tmp_path):
    (tmp_path / "net.yaml").write_text("class_path: x\nclass_path: y\n")
    (tmp_path / "naming.yaml").write_text("model: {init_args: {encoder: net.yaml}}\n")
    assert "net.yaml: 'class_path' stands twice" in refused_fit("--config", str(tmp_path / "naming.yaml"))


def test_a_yaml_file_that_is_no_part_is_not_ours_to_judge(refused_fit, tmp_path):
    (tmp_path / "numbers.yaml").write_text("- 1\n- {a: 1, a: 2}\n")
    (tmp_path / "naming.yaml").write_text("data: {init_args: {root: numbers.yaml}}\n")
    assert "there is no key 'root'" in refused_fit("--config", str(tmp_path / "naming.yaml"))


WORDS = {
    "--data={class_path: a, class_path: b}": "--data: 'class_path' stands twice, in line 1",
    "--model.encoder.hiden_dims=[3]": "(in model.encoder, a lit_gen.networks.MLP; on the command line)",
    "--batch_size=3": "there is data.batch_size",
    "--lr=3": "there is model.optimizer.lr",
    "--beta=3": "a part's own keys go with its name, as in model.beta",
    "--data=digits": "the nearest is data/digits",
    "--data=data/fashion_mnis": "--data: there is no file data/fashion_mnis; the nearest is data/fashion_mnist",
    "--trainer=trainer/dddp": "the nearest are trainer/ddp and",
    "--trainer=42": "--trainer: there is no file 42",
    "--model.encoder.hidden_dims=[0]": "hidden_dims must be at least 1, got [0] (on the command line)",
    "--model.beta=-1": "must not be negative, got -1.0 (on the command line)",
    "--data.binarization=foo": "one of none, threshold, fixed, dynamic. (on the command line)",
    "--trainer.strategy=foo": "lightning.ai (on the command line)",
    "--trainer.max_time=xx": "(in trainer.max_time; on the command line)",
    "--trainer.accelerator=foo": "(on the command line)",
    "--model.encoder.activation=torch.nn.Tanhh": "(in model.encoder, a lit_gen.networks.MLP; on the command line)",
    "--trainer.callbacks=[{class_path:x}]": "no key 'class_path:x'; a blank follows a key's colon",
    "--trainer.callbacks=[{class_path: x}]": "'x' is neither a class nor the file of one",
    "--trainer.callbacks=[lit_gen.networks.MLP]": "trainer.callbacks: 'lit_gen.networks.MLP' is no Callback (on the",
    "--trainer.callbacks=[lit_gen.callbacks.FIDD]": "'lit_gen.callbacks.FID' (on the command line)",
    "--trainer.logger=lit_gen.networks.MLP": "trainer.logger: 'lit_gen.networks.MLP' is no Logger (on the",
    "--data=lit_gen.networks.MLP": "data: 'lit_gen.networks.MLP' is no LightningDataModule (on the",
    "--model=torch.nn.Linear": "model: 'torch.nn.Linear' is no LightningModule (on the",
    "--model.objective=lit_gen.objectives.NonSaturating": "objectives.NonSaturating' is no VariationalObjective (in",
    "--model.optimizer=torch.nn.Linear": "model: optimizer: 'torch.nn.Linear' is no Optimizer (in model, a",
    "--model.prior=null": "model.prior: it is null, but model.encoder.out_shape is ${model.prior.dim}",
    "--model.prior.dim=null": "model.prior.dim: it is null, but lit_gen.networks.MLP needs it (on the command line)",
    "--model.encoder=null": "model.encoder: it is null, but lit_gen.models.VAE needs it (on the command line)",
    "--model.optimizer=null": "; model.optimizer is null (on the command line)",
    "--data.batch_size=null": "; data.batch_size is null (on the command line)",
    "--model.likelihood=lit_gen.distributions.StandardNormal": (
        "required: dim (in model.likelihood, a lit_gen.distributions.StandardNormal; on the command line)"
    ),
    "--trainer.precision=foo": "Expected one of 32-true, 64-true, bf16-mixed, 16-mixed, got foo (on the command line)",
    "--trainer.precision=8": "Expected one of 32-true, 64-true, bf16-mixed, 16-mixed, got 8 (on the command line)",
    "--score=maybe": "score: Expected one of in_proportion, full. Got value: maybe (on the command line)",
    "--model=VAE2": "model: 'VAE2' names no class: write its import path",
    "--data=null": "--data=null is nothing",
    "--model.optimizer=torch.optim.Adamm": "the nearest right one is 'torch.optim.Adam'",
    "--model.beta=inf": "infinity is .inf",
    "--trainer.max_epochs=1:30": "trainer.max_epochs: Expected an int, got 1:30 (on the command line)",
    "--seed_everything=many": "seed_everything: Expected a bool or an int, got many (on the command line)",
    "--name=../../x": "'../../x' cannot name a run's folder",
    "--name=a/b": "'a/b' cannot name a run's folder",
    "--name=/abs": "'/abs' cannot name a run's folder",
    "--name=.hidden": "'.hidden' cannot name a run's folder",
    "--name= x": "' x' cannot name a run's folder",
    "--name=": "--name is empty",
    "--name=" + "x" * 300: "is too long for a folder's name",
    "--stages.one.trainer.max_epochs=3": "--stages.one.trainer.max_epochs: none of the configs has stages",
}


@pytest.mark.parametrize("word", WORDS, ids=[word[:40] for word in WORDS])
def test_a_word_that_says_something_else(refused_fit, word):
    assert WORDS[word] in refused_fit(word)


@pytest.mark.parametrize("stem", [".yaml", "-x.yaml", " x.yaml"])
def test_a_config_whose_name_no_folder_can_have(refused, tmp_path, monkeypatch, stem):
    (tmp_path / stem).write_text(CONFIG.read_text())
    message = refused("fit", f"--config={tmp_path / stem}", f"--runs={tmp_path / 'runs'}")
    assert "cannot name a run's folder" in message
    assert not (tmp_path / "runs").exists()


STAGES = {
    "--stages.fine_tunedd.trainer.max_epochs=3": "--stages.fine_tunedd.trainer.max_epochs: there is no stage",
    "--stages.finetuned…=3": "--stages.finetuned…: write --stages.<name>.<key>=<value>",
    "--stages.fine_tuned.trainer.max_epoch=3": "stage 'fine_tuned': there is no key 'trainer.max_epoch'",
    "--stages.fine_tuned.model.encoder.hiden_dims=[3]": "(in model.encoder, a lit_gen.networks.MLP; on the command",
}


@pytest.mark.parametrize("word", STAGES)
def test_words_for_a_stage_are_named_as_they_were_written(refused_fit, word):
    assert STAGES[word] in refused_fit(word, config="autoencoders/rbm_pretrained_digits")


GAMES = {
    "--trainer.gradient_clip_val=1": ["trainer.gradient_clip_val=1", "set model.gradient_clip_norm instead"],
    "--trainer.gradient_clip_algorithm=value": ["gradient_clip_algorithm", "set model.gradient_clip_norm instead"],
    "--trainer.accumulate_grad_batches=4": ["accumulate_grad_batches=4", "set model.num_micro_batches instead"],
}


@pytest.mark.parametrize("config", ["gans/gan_digits", "vaes/vae_gan_digits", "autoencoders/pca_digits"])
@pytest.mark.parametrize("word", GAMES)
def test_options_of_lightnings_optimization_in_a_model_without_it(refused_fit, word, config):
    message = refused_fit(word, config=config)
    option, cure = GAMES[word]
    assert option in message
    assert ("leave it out" if config == "autoencoders/pca_digits" else cure) in message


@pytest.mark.parametrize("value", ["None", "null", "~"])
def test_none_is_null_wherever_null_is_allowed(capsys, later, value):
    keys = ["monitor", "name", "ckpt_path", "trainer.profiler", "trainer.max_time"]
    words = [f"--{key}={value}" for key in keys]
    later.write_text(f"monitor: {value}\nckpt_path: {value}\ntrainer: {{profiler: {value}}}\n")
    for given in (words, ["--config", str(later), *words[1:2]]):
        with pytest.raises(SystemExit):
            main(["fit", "--config", str(CONFIG), *given, "--print_config"])
        printed = capsys.readouterr().out
        for key in ("monitor", "name", "ckpt_path", "  profiler"):
            assert f"\n{key}: null\n" in printed


@pytest.mark.parametrize("value", ["None", "null"])
def test_none_is_never_a_runs_name_not_even_in_quotes(capsys, later, value):
    later.write_text(f"name: '{value}'\nruns: {later.parent}\n")
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(CONFIG), "--config", str(later), "--print_config"])
    assert "\nname: null\n" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["beta", "posterior.init_args.scale"])
def test_a_whole_number_is_taken_where_a_float_is_wanted(capsys, later, key):
    later.write_text("trainer: {max_epochs: 7}\n")
    word = f"--model.init_args.{key}=${{trainer.max_epochs}}"
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(CONFIG), "--config", str(later), word, "--print_config"])
    printed = capsys.readouterr()
    assert f"{key.split('.')[-1]}: 7" in printed.out
    assert "serialize" not in printed.err


def test_options_hold_wherever_they_stand(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--trainer.max_epochs=3", "--config", str(CONFIG), "--print_config"])
    assert "  max_epochs: 3\n" in capsys.readouterr().out


def test_of_two_equal_options_the_last_holds(capsys):
    with pytest.raises(SystemExit):
        words = ["--data.batch_size=3", "--data.batch_size=4", "--config", str(CONFIG)]
        main(["fit", "--config", str(CONFIG), *words, "--print_config"])
    assert "    batch_size: 4\n" in capsys.readouterr().out


def test_a_decimal_number_is_no_octal(capsys, later):
    later.write_text("trainer: {max_epochs: 012}\n")
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(CONFIG), "--config", str(later), "--print_config"])
    assert "  max_epochs: 12\n" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["optimizer", "scheduler", "objective", "encoder.activation"])
def test_a_word_that_is_no_import_path(refused_fit, key):
    assert f"{key.split('.')[-1]}: 'Adamm' names no class: write its import path" in refused_fit(f"--model.{key}=Adamm")


def test_every_device_of_a_machine_without_a_gpu(refused_fit, monkeypatch):
    for kind in (CUDAAccelerator, MPSAccelerator):
        monkeypatch.setattr(kind, "is_available", staticmethod(lambda: False))
    assert "There is no GPU here: take --trainer.devices=2" in refused_fit("--trainer=trainer/ddp")
