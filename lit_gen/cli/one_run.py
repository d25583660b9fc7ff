"""Doing what a verb says with a model, its data and a trainer that have been built: figures, summary, table."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lit_gen.cli import (
    checkpoints,
    loss_curves,
    made,
    monitors,
    run_clock,
    run_folder,
    run_record,
    shortened,
    whole_checkpoints,
)
from lit_gen.cli.lit_gen_cli import LitGenCLI
from lit_gen.cli.screen import say
from lit_gen.errors import Interrupted, UserError

SPLITS = {"validate": "val", "test": "test", "predict": "predict"}
"""What Lightning calls the batches of each verb."""


def check_checkpoint(cli: LitGenCLI) -> None:
    """Refuse a checkpoint of another model, or one that a fit can't go on from, before anything is done with it."""
    if cli.checkpoint is None:
        return
    checkpoint = checkpoints.load(cli.checkpoint)
    checkpoints.check_fits(checkpoint, cli.model, cli.checkpoint)
    if cli.verb == "fit":
        checkpoints.check_resumable(checkpoint, cli.checkpoint)
        _check_length(cli, checkpoint)


def _check_length(cli: LitGenCLI, checkpoint: Mapping[str, Any]) -> None:
    """Refuse a training that is to end before the step it goes on from."""
    try:
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        steps = checkpoint["global_step"]
    except (KeyError, TypeError):
        return  # Lightning says what is wrong with it
    for key, behind in (("epochs", epochs), ("steps", steps)):
        most = cli.config.trainer[f"max_{key}"]
        if most is not None and -1 < most < behind:
            raise UserError(
                f"trainer.max_{key} must be at least {behind}, got {most}: {run_folder.shown(cli.checkpoint)} has "
                f"{behind:,} {key} behind it"
            )


def fit(cli: LitGenCLI) -> None:
    """Train, test the best weights, and write down the figures."""
    trainer = cli.trainer
    if cli.folder is not None:
        whole_checkpoints.make_way(cli.folder)
    cli.clock.start(cli.plan(), cli.goes_on)
    path = str(cli.checkpoint) if cli.checkpoint else None
    legs = None
    try:
        trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=path, weights_only=True)
        legs = cli.clock.legs()  # before the curves are drawn, which is no part of the fit
    finally:
        if cli.first_step.is_near:
            loss_curves.save(trainer, is_whole=legs is not None)  # of a run that stops or fails as well
    if cli.checkpoint is not None and cli.progress.num_examples == 0:
        say("nothing was left to train: a greater --trainer.max_epochs (or max_steps) goes on")
    timing = {"steps": trainer.global_step, "epochs": run_clock.epochs_of(trainer), **run_clock.totals(legs)}
    cli.remarks["legs"] = legs
    share = 1.0 if cli.config.score == "full" or trainer.fast_dev_run else cli.clock.share(trainer)
    with shortened.in_proportion(trainer, share, sum(leg["examples"] for leg in legs)) as cut:
        figures = _test_best(cli)
    if cut.left_out:
        cli.remarks["shortened"] = {"share": cut.share, "scored": cut.left_out}
    _finish(cli, figures, timing)
    if cut.left_out:
        folder = run_folder.shown(Path(trainer.default_root_dir))
        config = folder / run_folder.CONFIG
        saved = any((folder / run_folder.CHECKPOINTS).glob("*.ckpt"))  # none by max_epochs=0
        test = f"lit-gen test --config {config} --ckpt_path {folder}, or " if saved else ""
        say(shortened.told(cut, f"{test}fit with --score=full"))


def evaluate(cli: LitGenCLI) -> None:
    """Validate, test or predict with a checkpoint."""
    seconds = time.perf_counter()
    entry = getattr(cli.trainer, cli.verb)
    quiet = {} if cli.verb == "predict" else {"verbose": False}
    if cli.verb == "predict":
        quiet["return_predictions"] = False
    entry(cli.model, datamodule=cli.datamodule, ckpt_path=str(cli.checkpoint), weights_only=True, **quiet)
    split = SPLITS[cli.verb]
    if not sum(getattr(cli.trainer, f"num_{split}_batches")):
        raise UserError(f"nothing to {cli.verb}: {monitors.why_nothing(cli.trainer, split)}")
    _finish(cli, _figures(cli.trainer.callback_metrics), {"seconds": time.perf_counter() - seconds})


@contextmanager
def mistakes_told(cli: LitGenCLI) -> Iterator[None]:
    """Within the block a person's mistakes become a :class:`UserError` and a Ctrl-C an :class:`Interrupted`."""
    try:
        with cli.parts.mistakes_told(when=lambda: not cli.first_step.is_near):
            yield
    except UserError:
        cli.discard()
        raise
    except MisconfigurationException as error:
        cli.discard()
        raise UserError(str(error)) from error
    except SystemExit as stop:
        # How Lightning ends after a Ctrl-C that it handled itself: in an evaluation, or the second one.
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        command = cli.how_to_resume()
        raise Interrupted(f"interrupted; {f'go on with: {command}' if command else 'nothing was saved'}") from stop
    finally:
        cli.record.close()


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def _test_best(cli: LitGenCLI) -> dict[str, float]:
    # A fast_dev_run and a run without checkpointing have none: then the weights at hand are tested.
    chosen = whole_checkpoints.choose(Path(cli.trainer.default_root_dir))
    cli.trainer.test(cli.model, datamodule=cli.datamodule, ckpt_path=chosen, verbose=False, weights_only=True)
    return _figures(cli.trainer.callback_metrics)


def _finish(cli: LitGenCLI, figures: dict[str, float], timing: dict[str, float]) -> None:
    if cli.trainer.is_global_zero:
        cli.record.write()  # of a run that had no step to do
        folder = Path(cli.trainer.default_root_dir)
        run_record.write_summary(folder, figures, cli.trainer, timing, cli.remarks)
        run_record.print_table(cli.title, figures, cli.trainer, timing)
        made.show(folder)
