"""``lit-gen fit | validate | test | predict``: one run, or the stages of one."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lit_gen.cli import lean, one_run, parser, run_folder, run_record, staged_run, stages
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.distributed import leave_together
from lit_gen.errors import UserError
from lit_gen.freed_memory import keep_freed_memory


def _arguments_of_run(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """``--resume RUN`` stands for that run's config, before any override."""
    arguments = list(arguments)
    for position, word in enumerate(arguments):
        if word == "--resume" or word.startswith("--resume="):
            value = word.partition("=")[2] or (arguments[position + 1 : position + 2] or [""])[0]
            del arguments[position : position + (1 if "=" in word else 2)]
            run = Path(value)
            if not (run / run_folder.CONFIG).is_file():
                raise UserError(f"cannot resume '{value}': it is not a run folder (it has no {run_folder.CONFIG})")
            return ["--config", str(run / run_folder.CONFIG), *arguments], run
    return arguments, None


def _one(verb: str, arguments: Sequence[str], resume: Path | None) -> None:
    cli = LitGenCLI(verb, arguments, resume)
    with one_run.mistakes_told(cli):
        one_run.check_checkpoint(cli)
        if verb == "fit":
            one_run.fit(cli)
        else:
            one_run.evaluate(cli)


def run(verb: str, arguments: Sequence[str]) -> None:
    """Run one of Lightning's verbs. Of a config with stages ``fit`` runs all, the other verbs evaluate the last.

    Raises:
        UserError: a mistake in the config, the data, the checkpoint, or what was asked of the machine.
    """
    run_record.quiet_libraries()
    lean.ask_cuda_cheaply()
    keep_freed_memory()
    arguments, resume = _arguments_of_run(arguments)
    parser.check_files(arguments)
    try:
        staged = stages.read(arguments)
        if staged is None:
            _one(verb, arguments, resume)
        elif verb == "fit":
            staged_run.fit(staged, resume, arguments)
        else:
            _one(verb, staged[-1].arguments, None)
        leave_together()
    finally:
        sys.stdout.flush()
