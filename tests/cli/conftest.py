"""What the tests of bad input share: a mistake is one line and exit status 2, and leaves nothing behind."""

import pytest

from lit_gen.cli.main import main

SHORT = ["--trainer.max_steps=2", "--trainer.callbacks=[]", "--wandb=false", "--trainer.limit_val_batches=1"]


@pytest.fixture
def refused(capsys):
    """Run a command line that is refused; the one line of the error."""

    def refused(*arguments: str) -> str:
        capsys.readouterr()
        assert main([*arguments]) == 2
        message = capsys.readouterr().err.strip()
        assert message.startswith("lit-gen: error: ")
        assert "\n" not in message
        assert "Traceback" not in message
        assert len(message) < 400
        return message

    return refused


@pytest.fixture
def refused_fit(refused, tmp_path):
    """Run a short ``fit`` that is refused and leaves no run folder; the one line of the error."""

    def refused_fit(*arguments: str, config: str = "conf/vaes/vae_digits.yaml") -> str:
        message = refused("fit", "--config", config, *SHORT, f"--runs={tmp_path / 'runs'}", *arguments)
        assert not list((tmp_path / "runs").glob("*/*")), "a refused run leaves no folder"
        return message

    return refused_fit
