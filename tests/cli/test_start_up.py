"""Collections put off while the process starts: nothing else of it changes."""

import gc
import subprocess
import sys

import pytest

from lit_gen.cli import start_up

RUN = "import sys\nsys.argv = ['lit-gen', *{words}]\n{before}\nfrom lit_gen.cli.main import main\nsys.exit(main())\n"


def process(*words: str, before: str = "") -> subprocess.CompletedProcess:
    """Run lit-gen as its console script does."""
    code = RUN.format(words=list(words), before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_collections_are_off_until_everything_is_imported(monkeypatch):
    monkeypatch.setattr("atexit.register", lambda function: None)
    assert gc.isenabled()
    try:
        start_up.begin()
        assert not gc.isenabled()
        start_up.end()
        assert gc.isenabled() and gc.get_freeze_count() > 1000
        gc.unfreeze()
        start_up.end()
        assert gc.get_freeze_count() == 0, "once is enough"
    finally:
        gc.enable()
        gc.unfreeze()


def test_who_turned_collections_off_finds_them_off(monkeypatch):
    monkeypatch.setattr("atexit.register", lambda function: None)
    gc.disable()
    try:
        start_up.begin()
        start_up.end()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_main_called_by_a_program_leaves_its_collector_alone(monkeypatch):
    from lit_gen.cli.main import main

    monkeypatch.setattr(start_up, "begin", lambda: pytest.fail("it is not our process"))
    assert main(["list", "vaes"]) == 0


@pytest.mark.parametrize(
    ("words", "status", "out", "err"),
    [
        (["list", "vaes"], 0, "vae_digits", ""),
        (["list", "nothing"], 2, "", "lit-gen: error: there is no family"),
        (["fit", "--config", "nowhere"], 2, "", "lit-gen: error: "),
    ],
)
def test_status_and_output_are_as_ever(words, status, out, err):
    done = process(*words)
    assert done.returncode == status
    assert out in done.stdout and err in done.stderr
    assert done.stderr.count("\n") == (1 if err else 0)


def test_what_is_to_be_done_at_exit_is_done_and_the_end_is_quiet(tmp_path):
    before = (
        "import lit_gen.cli.list_configs as verb, torch, atexit\n"
        "class Cycle:\n"
        "    def __del__(self): print(', collected', end='')\n"
        "def run(verb, arguments):\n"
        "    from lit_gen.cli import start_up\n"
        "    start_up.end()\n"
        "    cycle = Cycle(); cycle.own = cycle\n"
        f"    verb_module.left_open = open({str(tmp_path / 'left.txt')!r}, 'w'); verb_module.left_open.write('whole')\n"
        "    print('said', end='')\n"
        f"    atexit.register(lambda: open({str(tmp_path / 'atexit.txt')!r}, 'w').write('called'))\n"
        "verb.run, verb_module = run, verb"
    )
    done = process("list", before=before)
    assert (done.returncode, done.stdout, done.stderr) == (0, "said, collected", "")
    assert (tmp_path / "left.txt").read_text() == "whole"
    assert (tmp_path / "atexit.txt").read_text() == "called"
