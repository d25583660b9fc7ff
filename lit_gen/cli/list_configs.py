"""``lit-gen list``: the configs there are, read from their first comment line; ``lit-gen list runs``: the runs."""

from collections.abc import Sequence
from pathlib import Path

from lit_gen.cli import list_runs
from lit_gen.cli.options import OptionParser
from lit_gen.errors import UserError

PARTS = ("data", "trainer")
"""Folders of conf/ that hold parts of configs, not whole ones."""


def title(config: Path) -> str:
    """The first comment line of a config: what it is, the paper, the link."""
    first = config.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip() if first.startswith("#") else "(no title: its first line should be a comment)"


def find_configs(folder: Path) -> dict[str, list[Path]]:
    """The whole configs below ``folder``, by family."""
    families: dict[str, list[Path]] = {}
    for config in sorted(folder.glob("*/*.yaml")):
        if config.parent.name not in PARTS:
            families.setdefault(config.parent.name, []).append(config)
    return families


def default_folder() -> Path:
    """``conf`` here, or else beside the installed package."""
    here = Path("conf")
    return here if here.is_dir() else Path(__file__).resolve().parents[2] / "conf"


def run(verb: str, arguments: Sequence[str]) -> None:
    """List the configs, or the runs."""
    if arguments and arguments[0] == "runs":
        list_runs.run(arguments[1:])
        return
    description = "The configs there are, by family; 'lit-gen list runs' lists your runs instead (see its --help)."
    parser = OptionParser(prog="lit-gen list", description=description)
    parser.add_argument("family", nargs="?", help="only this family, e.g. vaes; or 'runs'")
    parser.add_argument("--folder", type=Path, help="where to look (default: conf)")
    options = parser.parse_args(list(arguments))
    folder = options.folder or default_folder()
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: run from a checkout of lit-gen, or name one with --folder")
    families = find_configs(folder)
    if options.family:
        if options.family not in families:
            raise UserError(f"there is no family '{options.family}' in {folder}; there are {', '.join(families)}")
        families = {options.family: families[options.family]}
    for family, configs in families.items():
        print(family)
        for config in configs:
            print(f"  {config}\n      {title(config)}")
