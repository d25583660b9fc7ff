"""``lit-gen fit --help`` and its like: written down here, so that it needs no imports; tests hold it to the parser."""

from collections.abc import Sequence

VERBS = ("fit", "validate", "test", "predict")
"""Verbs that take a config."""

PURPOSES = {
    "fit": "Train a model, test its best checkpoint, and leave a run folder.",
    "validate": "Evaluate a checkpoint on the validation split.",
    "test": "Evaluate a checkpoint on the test split.",
    "predict": "Write a checkpoint's predictions for the test split.",
}

EXAMPLES = {
    "fit": (
        "lit-gen fit --config vaes/vae_digits",
        "lit-gen fit --config vaes/vae_digits --trainer.max_epochs=20",
        "lit-gen fit --resume runs/vae_digits/ID",
    ),
    "validate": ("lit-gen validate --config RUN/config.yaml --ckpt_path RUN  (RUN: a run folder)",),
    "test": ("lit-gen test --config RUN/config.yaml --ckpt_path RUN  (RUN: a run folder)",),
    "predict": ("lit-gen predict --config RUN/config.yaml --ckpt_path RUN  (RUN: a run folder)",),
}

OPTIONS = """
  --config NAME, -c NAME    the config ('lit-gen list'); a later one changes it
  --name NAME               the run's name (default: the config's file name)
  --runs FOLDER             where run folders are made (default: runs)
  --seed_everything N       the run's seed (default: 0)
  --ckpt_path WHERE         a run folder or checkpoint; 'last' or 'best': of the
                            newest run of this name
  --wandb true|false        log to Weights & Biases; offline unless logged in
  --monitor NAME            the metric whose least value makes best.ckpt
  --monitor_missing stop|warn
                            what a metric to monitor does that is never logged
  --score in_proportion|full
                            whether a run that options cut short has its test
                            cut in proportion (default), or not
  --checkpoint_every_n_steps N
                            how often last.ckpt is written (default: 500)
  --print_config            print the resolved config and stop
  --debug                   show the traceback of an error
"""

OF_FIT = """
  --resume RUN              go on in a run's folder, with its own config
  --stages.NAME.KEY=VALUE   a key of one stage, of a config with stages
"""

OF_PARTS = """
  --trainer.max_epochs N    how long to train; or --trainer.max_steps N,
                            --trainer.max_time DD:HH:MM:SS
  --trainer.check_val_every_n_epoch N, --trainer.log_every_n_steps N
  --trainer.accelerator A   auto (default), cpu or gpu; --trainer.devices N
  --trainer.precision P     32-true (default), 64-true, bf16-mixed, 16-mixed
  --trainer.callbacks LIST  what is measured and drawn; [] for nothing
  --trainer.fast_dev_run N  only N batches of everything: does it run at all?
  --data FILE_OR_CLASS      other data, as lit_gen.data.ImageFolder or
                            lit_gen.data.ArrayFile, with --data.path PATH
  --data.image_shape SHAPE  what images are resized to, as [3,64,64]
  --data.batch_size N       examples a step, over all processes
  --data.num_validation N, --data.binarization none|threshold|fixed|dynamic
  --model.KEY VALUE         any argument of the model, as --model.prior.dim=20
"""

ABOUT = """
A config has a model, data and a trainer. Each part is a class_path with
init_args, which a command line leaves out: --model.prior.dim=20 stands for
--model.init_args.prior.init_args.dim=20. Of two values the later one counts.
--model.objective=lit_gen.objectives.ImportanceWeighted takes another class.
"${data.image_shape}" stands for another key's value, also when that is changed.
"""

MORE = """
  --help=model.encoder      what a key accepts; with --config, what stands there
  --help=trainer            all keys of a part; also --help=model, --help=data
  --help=lit_gen.networks.MLP
                            a class and its arguments
  lit-gen list              the configs; 'lit-gen list runs' your runs
"""


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for help."""
    return any(word in ("-h", "--help") or word.startswith("--help=") for word in arguments)


def text(verb: str) -> str:
    """The help of a verb that takes a config."""
    own = OPTIONS.strip("\n") + (OF_FIT.rstrip("\n") if verb == "fit" else "")
    examples = "\n".join(f"  {example}" for example in EXAMPLES[verb])
    needs = "--config NAME" if verb == "fit" else "--config NAME --ckpt_path RUN"
    return (
        f"usage: lit-gen {verb} {needs} [--KEY=VALUE ...]\n\n{PURPOSES[verb]}\n\n{examples}\n\n"
        f"options:\n{own}\n\noften changed keys of the config's parts:\n{OF_PARTS.strip(chr(10))}\n"
        f"{ABOUT}\nmore:\n{MORE.strip(chr(10))}"
    )


def option(name: str, verb: str) -> str | None:
    """What the help says of one option, without its dashes; None if it doesn't name it."""
    lines = text(verb).split("options:\n")[1].split("\n\n")[0].splitlines()
    for number, line in enumerate(lines):
        if line.split()[0] == f"--{name}":
            followed = [after for after in lines[number + 1 :][:1] if not after.lstrip().startswith("-")]
            return "\n".join([line.strip(), *followed])
    return None


def run(verb: str, arguments: Sequence[str]) -> None:
    """Print the help that a command line asks for.

    Raises:
        UserError: it asks for a key or a class that isn't there.
    """
    paths = [word.partition("=")[2] for word in arguments if word.startswith("--help=")]
    if not any(paths):
        print(text(verb))
        return
    from lit_gen.cli import deep_help  # imports torch

    words = [word for word in arguments if not word.startswith("--help=")]
    print("\n".join(deep_help.describe(paths[0], words, verb)))
