"""``lit-gen VERB …``: finds the verb, runs it, and tells a person's mistake in one line."""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from lit_gen.cli import help, library_messages, start_up
from lit_gen.errors import Interrupted, UserError, printable

VERBS = {
    "fit": ("lit_gen.cli.lightning_verbs", "train a model, test it, and leave a run folder"),
    "validate": ("lit_gen.cli.lightning_verbs", "evaluate a checkpoint on the validation split"),
    "test": ("lit_gen.cli.lightning_verbs", "evaluate a checkpoint on the test split"),
    "predict": ("lit_gen.cli.lightning_verbs", "write a checkpoint's predictions for the test split"),
    "sample": ("lit_gen.cli.sample", "draw from a checkpoint: a picture, a folder of pictures or an .npz"),
    "list": ("lit_gen.cli.list_configs", "the configs there are, with the paper each follows; 'list runs': your runs"),
}
"""Each verb's module, which has ``run(verb, arguments)``, and what it does."""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def usage() -> str:
    """The help text of the whole program."""
    verbs = "\n".join(f"  {verb:<10}{purpose}" for verb, (_, purpose) in VERBS.items())
    return (
        "usage: lit-gen VERB [options]\n\n"
        f"verbs:\n{verbs}\n\n"
        "  lit-gen VERB --help   tells a verb's options\n"
        "  --debug               shows the traceback of an error\n\n"
        "example: lit-gen fit --config conf/vaes/vae_digits.yaml --trainer.max_epochs=3"
    )


def unknown_verb(verb: str) -> str:
    """What to say of a verb that isn't one."""
    nearest = difflib.get_close_matches(verb, VERBS, n=1)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"the verbs are {', '.join(VERBS)}."
    return f"there is no verb '{verb}'; {hint}"


def _told(message: str) -> int:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the processes of a run make the same mistake; one tells it
        print(f"lit-gen: error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_USER_ERROR


def _is_text(argument: str) -> bool:
    """Whether it holds no byte that isn't UTF-8, for which Python puts a lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the command line without the program's name; None takes the process's own.

    Returns:
        The exit status: 0, 1 for a bug of ours (with its traceback), 2 for a mistake that the person at the keyboard
        can mend (told in one line), 130 after Ctrl-C.
    """
    is_process = arguments is None
    arguments = list(sys.argv[1:] if is_process else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else EXIT_USER_ERROR
    if arguments[0] == "--version":
        from lit_gen import __version__

        print(f"lit-gen {__version__}")
        return 0
    odd = next((argument for argument in arguments if not _is_text(argument)), None)
    if odd is not None:
        return _told(f"{printable(odd)} isn't UTF-8, and a config is text: rename the file or folder")
    verb = arguments[0]
    if verb not in VERBS:
        return _told(unknown_verb(verb))
    if is_process:
        start_up.begin()
        sys.path.append(os.getcwd())  # for parts of one's own, which `python -m lit_gen` finds there as well
    try:
        asks = verb in help.VERBS and help.is_asked(arguments[1:])
        with library_messages.held_back():
            (help if asks else importlib.import_module(VERBS[verb][0])).run(verb, arguments[1:])
    except UserError as error:
        if debug:
            traceback.print_exc()
        return _told(str(error))
    except (Interrupted, KeyboardInterrupt) as interrupt:
        if debug:
            traceback.print_exc()
        if os.environ.get("LOCAL_RANK", "0") == "0":  # every process of a run stops; one says so
            print(f"lit-gen: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        if is_process:
            start_up.end()
    return 0
