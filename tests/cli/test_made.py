"""A verb ends with the paths of what it made."""

from pathlib import Path

from lit_gen.cli.made import made_in
from lit_gen.cli.main import main

FIT = ["fit", "--config", "conf/vaes/vae_digits.yaml", "--wandb=false", "--data.batch_size=128"]


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_newest_picture_of_each_kind(tmp_path):
    names = ["samples_0000000", "samples_0000100", "samples_10000000", "samples_9999999", "codes_val_0000100", "mine"]
    folder = touched(tmp_path, *(f"samples/{name}.png" for name in names), "checkpoints/last.ckpt", "summary.json")
    assert {what: path.name for what, path in made_in(folder).items()} == {
        "last checkpoint": "last.ckpt",
        "codes_val": "codes_val_0000100.png",
        "samples": "samples_10000000.png",
        "summary": "summary.json",
    }
    assert made_in(tmp_path / "nothing") == {}


def test_each_verb_ends_with_paths_that_are_there(tmp_path, capsys):
    grid = "{class_path: lit_gen.callbacks.SampleGrid, init_args: {num_samples: 4, every_n_epochs: 50}}"
    short = ["--trainer.max_steps=3", f"--trainer.callbacks=[{grid}]"]

    def made(*words: str) -> list[str]:
        capsys.readouterr()
        assert main([*words]) == 0
        *lines, last = capsys.readouterr().out.splitlines()
        folder = Path(last.removeprefix("run folder: "))
        table = max(number for number, line in enumerate(lines) if line.startswith("└"))
        paths = [Path(line.split()[-1]) for line in lines[table + 1 :]]
        assert all(path.is_file() for path in paths)
        return [str(path.relative_to(folder)) for path in paths]

    runs = tmp_path / "runs"
    assert made(*FIT, *short, f"--runs={runs}") == [
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "samples/samples_0000003.png",
        "metrics.csv",
        "curves.png",
        "summary.json",
    ]
    (run,) = runs.glob("*/*")
    for verb, files in {
        "test": ["metrics.csv", "summary.json"],
        "validate": ["metrics.csv", "summary.json"],
        "predict": ["predictions.npz", "summary.json"],
    }.items():
        of_verb = [verb, "--config", str(run / "config.yaml"), f"--ckpt_path={run}", f"--runs={tmp_path / verb}"]
        assert made(*of_verb) == files
