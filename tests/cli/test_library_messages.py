"""The screen is for lit-gen; what the libraries say goes into the log."""

import logging
import os
import re
import subprocess
import sys
import warnings

import pytest

from lit_gen.cli import library_messages

LINES = (
    r"run folder:( \S+)?",
    r"  \S*runs/\S+",
    r"data: .+",
    r"  .*(train \d|shape \[).*",
    r"device: cpu, \d+ threads?; precision 32-true",
    r"parameters: encoder [\d,]+, decoder [\d,]+; [\d,]+ trained, 0 frozen",
    r"training: 2 steps, an epoch is 17 batches of 64",
    r"W&B: offline, in the run folder's wandb/, for 'wandb sync'",
    r"(validating|testing) \S+\.ckpt of step \d+(: Likelihood)?",
    r"vae_digits\s*",
    r"[┏┡└].*[┓┩┘]",
    r"[│┃].*[│┃]",
    r"lit-gen: warning: test/nll_nats_k\d+\w*: K is too small to trust it.*",
    r"[a-z]+( [a-z]+)* {2,}/\S+",  # what a run made, and where
    r"lit-gen: trained .* the test was shortened: .*",
    r"\s*",
)
"""Every shape that a line of a run may have."""


def test_a_run_says_nothing_but_its_own(tmp_path):
    # What makes the libraries talk: a `srun` on the PATH, and a CUDA toolkit without a GPU.
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin" / "srun"
    srun.write_text("#!/bin/sh\nexit 0\n")
    srun.chmod(0o755)
    without = {"PYTHONWARNINGS", "WANDB_MODE", "WANDB_SILENT", "COLUMNS"}
    environment = {name: value for name, value in os.environ.items() if name not in without}
    environment |= {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}",
        "CUDA_HOME": str(tmp_path),
        "CUDA_VISIBLE_DEVICES": "",
        "WANDB_MODE": "offline",
    }
    callback = "--trainer.callbacks=[{class_path: lit_gen.callbacks.Likelihood, init_args: {num_samples: 3}}]"
    words = ["--config", "conf/vaes/vae_digits.yaml", "--trainer.max_steps=2", "--trainer.accelerator=cpu", callback]
    command = [sys.executable, "-m", "lit_gen", "fit", *words, f"--runs={tmp_path / 'runs'}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    unexpected = [line for line in lines if not any(re.fullmatch(shape, line) for shape in LINES)]
    assert not unexpected
    assert len(lines) > 15, "the run did say something"
    (log,) = (tmp_path / "runs").glob("*/*/log.txt")
    assert "`srun` command is available" in log.read_text(), "what was kept from the screen, also from before the log"
    assert "GPU available: False" in log.read_text()


def warn_from(code_file: str, text: str) -> None:
    """Warn as code in that file would."""
    code = compile(f"import warnings\nwarnings.warn({text!r}, UserWarning, stacklevel=1)", code_file, "exec")
    exec(code, {"__name__": "elsewhere"})


@pytest.fixture
def always():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


def test_warnings_are_told_apart_by_whose_code_warns(always, capsys, tmp_path):
    import lightning.pytorch

    import lit_gen.errors

    with library_messages.held_back():
        warn_from(lit_gen.errors.__file__, "of\n  lit-gen")
        warn_from(lightning.pytorch.__file__, "of a library")
        warn_from("/home/me/my_model.py", "of a person's own")
        handler = library_messages.log_to(tmp_path / "log.txt")
        warn_from(lightning.pytorch.__file__, "of a library again")
        library_messages.stop_logging(handler)
    told = capsys.readouterr().err
    assert "lit-gen: warning: of lit-gen\n" in told
    assert "/home/me/my_model.py:2: UserWarning: of a person's own" in told
    assert "library" not in told
    log = (tmp_path / "log.txt").read_text()
    for text in ("of\n  lit-gen", "of a library\n", "of a person's own", "of a library again"):
        assert log.count(text) == 1, text


def test_a_warning_for_the_caller_is_of_whoever_warns(always, capsys):
    from lit_gen.metrics import moments_cache

    with library_messages.held_back():
        # stacklevel=2 names this file; the words are lit-gen's all the same.
        moments_cache.warnings.warn("not theirs", stacklevel=2)
        code = compile("def warn():\n    warnings.warn('theirs', stacklevel=2)\n", moments_cache.__file__, "exec")
        space = {"warnings": warnings}
        exec(code, space)
        space["warn"]()
    told = capsys.readouterr().err
    assert "lit-gen: warning: theirs" in told
    assert "lit-gen: warning: not theirs" not in told


def test_other_ranks_repeat_no_warning(always, capsys, monkeypatch):
    import lit_gen.errors

    monkeypatch.setenv("LOCAL_RANK", "1")
    with library_messages.held_back():
        warn_from(lit_gen.errors.__file__, "of lit-gen")
    assert capsys.readouterr().err == ""


def test_what_was_before_is_back_afterwards():
    before, handlers = warnings.showwarning, list(logging.getLogger("torch").handlers)
    with pytest.raises(ValueError), library_messages.held_back():
        raise ValueError
    assert warnings.showwarning is before
    assert logging.getLogger("torch").handlers == handlers


def test_loggers_of_libraries_are_quiet_but_for_errors_and_others_as_they_were():
    theirs, other = logging.getLogger("torch.some_part"), logging.getLogger("mine")
    streams = [logging.StreamHandler(), logging.StreamHandler()]
    for logger, stream in zip((theirs, other), streams, strict=True):
        logger.addHandler(stream)
    try:
        library_messages.quiet_loggers()
        assert [stream.level for stream in streams] == [logging.ERROR, logging.NOTSET]
    finally:
        theirs.removeHandler(streams[0])
        other.removeHandler(streams[1])
