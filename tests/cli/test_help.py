"""Help of the verbs that take a config: quick, and true."""

import inspect
import re
import subprocess
import sys

import pytest

from lit_gen import data as data_room
from lit_gen import objectives
from lit_gen.cli import config_files
from lit_gen.cli import help as static_help
from lit_gen.cli.deep_help import describe
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.main import main
from lit_gen.objectives.variational import VariationalObjective

HEAVY = ("torch", "lightning", "jsonargparse", "wandb", "numpy", "rich", "yaml", "omegaconf")
VAE = ["--config", "conf/vaes/vae_digits.yaml"]
GAN = ["--config", "conf/gans/gan_ring.yaml"]


class Built(Exception):
    """The parser is there."""


def live_parser(verb: str):
    """The parser that a verb's command line really meets."""

    class Cut(LitGenCLI):
        def parse_arguments(self, parser, args):
            raise Built(parser)

    with pytest.raises(Built) as built:
        Cut(verb, [])
    return built.value.args[0]


@pytest.fixture(scope="module")
def parsers():
    return {verb: live_parser(verb) for verb in static_help.VERBS}


@pytest.mark.parametrize("verb", static_help.VERBS)
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_imports_nothing(verb, word):
    # What makes help slow is imports: counting them doesn't depend on the machine's mood, as seconds would.
    code = (
        f"import sys; from lit_gen.cli.main import main; status = main(['{verb}', '{word}', '--config', 'x.yaml'])\n"
        f"print('STATUS', status, 'HEAVY', [name for name in {HEAVY} if name in sys.modules], len(sys.modules) < 150)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "STATUS 0 HEAVY [] True" in done.stdout
    assert done.stdout.startswith(f"usage: lit-gen {verb} --config NAME")
    assert f"lit-gen {verb} --config" in done.stdout.split("options:")[0].split("\n", 1)[1], "an example"


@pytest.mark.parametrize("verb", static_help.VERBS)
def test_every_top_level_option_of_the_parser_is_in_the_help(parsers, verb):
    options = {action.dest.split(".")[0] for action in parsers[verb]._actions}
    named = set(re.findall(r"--(\w+)", static_help.text(verb)))
    assert options - {"help"} <= named
    assert {"config", "monitor", "wandb", "trainer", "model", "data"} <= options, "the parser is the one that was meant"


@pytest.mark.parametrize("verb", static_help.VERBS)
def test_every_option_in_the_help_is_one(parsers, verb):
    live = {action.dest for action in parsers[verb]._actions}
    modules = [cls for cls in vars(data_room).values() if inspect.isclass(cls)]
    of_data = {name for cls in modules for name in inspect.signature(cls).parameters}
    for option in set(re.findall(r"--([a-z_]\w*(?:\.\w+)*)", static_help.text(verb))) - {"debug", "help"}:
        first, _, rest = option.partition(".")
        if first == "data" and rest:
            assert rest in of_data, option
        elif first in ("stages", "model") and rest:
            assert first in {dest.split(".")[0] for dest in live}, option
        else:
            assert option in live, option


def test_a_command_line_with_all_options_of_the_help_is_accepted(parsers, tmp_path):
    values = {"N": "1", "NAME": "val/loss", "FOLDER": "r", "WHERE": "last", "true|false": "false", "RUN": "x"}
    lines = [line.split() for line in (static_help.OPTIONS + static_help.OF_FIT).splitlines() if "--" in line]
    words = {line[0]: values[line[1]] for line in lines if line[1] in values}
    assert len(words) == 8
    parsed = parsers["fit"].parse_args([*VAE, *(f"{option}={value}" for option, value in words.items())])
    assert parsed.checkpoint_every_n_steps == 1 and parsed.monitor == "val/loss" and parsed.wandb is False
    of_trainer = ["max_epochs=2", "max_steps=3", "max_time=00:00:01:00", "accelerator=cpu", "devices=1"]
    of_trainer += ["precision=bf16-mixed", "callbacks=[]", "fast_dev_run=2"]
    assert all(f"--trainer.{word.split('=')[0]}" in static_help.OF_PARTS for word in of_trainer)
    parsers["fit"].parse_args([*VAE, *(f"--trainer.{word}" for word in of_trainer)])


@pytest.mark.parametrize("verb", static_help.VERBS)
def test_the_help_fits_a_terminal_of_80_columns_and_two_screens(verb):
    lines = static_help.text(verb).splitlines()
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert len(lines) <= 60


def test_the_examples_are_of_configs_that_there_are():
    named = re.findall(r"--config (vaes/\S+)", "\n".join(sum(static_help.EXAMPLES.values(), ())))
    assert named and all(config_files.find(name) for name in named)


# Deeper.


def told(path, *arguments, verb="fit"):
    return "\n".join(describe(path, arguments, verb))


def test_a_key_says_what_stands_there_and_what_could():
    text = told("model.encoder", *VAE)
    assert text.startswith("model.encoder: Module, required\n  examples (B, *event_shape)")
    assert "the config has lit_gen.networks.MLP:" in text
    assert "  hidden_dims: list[int], required; here [200, 200]\n      widths of the hidden layers" in text
    assert "\n  lit_gen.networks.ConvEncoder: Images" in text
    assert "lit_gen.objectives" not in text and "\n  lit_gen.networks.MLP:" not in text


@pytest.mark.parametrize("path", ["model.init_args.encoder", "model.encoder.class_path", "model.encoder"])
def test_a_path_may_be_written_out(path):
    assert "hidden_dims" in told(path, *VAE)


def test_the_objectives_that_could_stand_there_are_all_those_exported():
    text = told("model.objective", *VAE)
    offered = set(re.findall(r"^  lit_gen\.objectives\.(\w+):", text, re.M))
    fitting = [
        cls for cls in vars(objectives).values() if inspect.isclass(cls) and issubclass(cls, VariationalObjective)
    ]
    assert offered == {cls.__name__ for cls in fitting if not inspect.isabstract(cls)} - {"VariationalObjective"}
    assert {"ELBO", "ImportanceWeighted", "BetaTCVAE"} <= offered
    assert "as in ``" not in text, "what it means is said here"
    of_game = told("model.objective", *GAN)
    assert "the config has lit_gen.objectives.NonSaturating" in of_game
    assert "lit_gen.objectives.Hinge" in of_game and "ELBO" not in of_game


def test_the_command_line_changes_what_stands_there():
    text = told("model.objective", *VAE, "--model.objective=lit_gen.objectives.ImportanceWeighted")
    assert "the config has lit_gen.objectives.ImportanceWeighted" in text and "num_samples: int" in text
    text = told("model.encoder.hidden_dims", *VAE, "--model.encoder.hidden_dims=[5]")
    assert "the config has [5]" in text and text.startswith("model.encoder.hidden_dims: list[int], required")


def test_without_a_config_the_models_that_have_the_key_are_named():
    text = told("model.generator")
    assert "An argument of GAN, UnrolledGAN" in text and "--config NAME" in text


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("trainer", "  max_epochs: int | None, default null"),
        ("trainer.max_epochs", "trainer.max_epochs: int | None, default null"),
        ("trainer.callbacks", "lit_gen.callbacks.Likelihood"),
        ("data", "lit_gen.data.ImageFolder"),
        ("model", "lit_gen.models.VAE"),
        ("model.optimizer", "lit_gen.models"),
        ("lit_gen.networks.MLP", "  hidden_dims: list[int], required"),
        ("torch.optim.SGD", "  momentum: "),
        ("monitor", "the metric whose least value"),
        ("resume", "go on in a run's folder"),
        ("checkpoint_every_n_steps", "(default: 500)"),
    ],
)
def test_parts_options_and_classes_need_no_config(path, says):
    if path == "model.optimizer":
        says = "torch.optim.SGD"
    assert says in told(path)


def test_of_stages_the_last_or_the_one_that_is_named():
    config = ["--config", "conf/autoencoders/rbm_pretrained_digits.yaml"]
    assert "lit_gen.models.Autoencoder" in told("model", *config)
    assert "lit_gen.models.RBM" in told("stages.rbm_2.model", *config)
    assert "shape: " in told("stages.rbm_2.model.hidden", *config)


def test_every_argument_of_every_exported_class_can_be_told():
    rooms = ["lit_gen.models", "lit_gen.data", "lit_gen.networks", "lit_gen.objectives", "lit_gen.regularizers"]
    rooms += ["lit_gen.callbacks", "lit_gen.distributions", "lit_gen.metrics.features"]
    count = 0
    for room in rooms:
        __import__(room)
        for name, value in vars(sys.modules[room]).items():
            if inspect.isclass(value) and value.__module__.startswith("lit_gen"):
                lines = describe(f"{room}.{name}", [], "fit")
                assert len(lines) >= 2 and not any("typing." in line or "<class" in line for line in lines), lines
                count += 1
    assert count > 150


def test_the_front_door_leads_to_it(capsys):
    assert main(["test", "--help=lit_gen.networks.MLP"]) == 0
    assert "hidden_dims" in capsys.readouterr().out
    assert main(["fit", "--help="]) == 0
    assert capsys.readouterr().out.startswith("usage: lit-gen fit")
