"""``lit-gen fit | validate | test | predict``: one run, or the stages of one."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lit_gen.cli import command_line, config_places, stages
from lit_gen.errors import UserError


def _one(verb: str, arguments: Sequence[str], resume: Path | None) -> None:
    from lit_gen.cli import one_run
    from lit_gen.cli.lit_gen_cli import LitGenCLI

    cli = LitGenCLI(verb, arguments, resume)
    with one_run.mistakes_told(cli):
        one_run.check_checkpoint(cli)
        if verb == "fit":
            one_run.fit(cli)
        else:
            one_run.evaluate(cli)


def _run(verb: str, arguments: Sequence[str], staged: list[stages.Stage] | None, resume: Path | None) -> None:
    from lit_gen.cli import lean, run_record, staged_run
    from lit_gen.distributed import leave_together
    from lit_gen.freed_memory import keep_freed_memory
    from lit_gen.tensor import default_dtype

    run_record.quiet_libraries()
    lean.ask_cuda_cheaply()
    keep_freed_memory()
    with default_dtype():  # which a run's precision sets
        if staged is None:
            _one(verb, arguments, resume)
        elif verb == "fit":
            staged_run.fit(staged, resume, arguments)
        else:
            _one(verb, staged[-1].arguments, None)
    leave_together()


def run(verb: str, arguments: Sequence[str]) -> None:
    """Run one of Lightning's verbs. Of a config with stages ``fit`` runs all, the other verbs evaluate the last.

    What is wrong with the words or the files' YAML is said before anything heavy is imported.

    Raises:
        UserError: a mistake in the config, the data, the checkpoint, or what was asked of the machine.
    """
    arguments, resume = command_line.of_resumed(arguments)
    arguments = command_line.prepared(verb, arguments)
    staged = stages.read(arguments)
    try:
        _run(verb, arguments, staged, resume)
    except UserError as error:
        raise UserError(config_places.located(str(error), arguments)) from error
    finally:
        sys.stdout.flush()
