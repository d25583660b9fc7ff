"""``lit-gen list``: the configs there are, read from their first comment line; ``lit-gen list runs``: the runs."""

from collections.abc import Sequence
from pathlib import Path

from lit_gen.cli import list_runs
from lit_gen.cli.config_files import find, named_folders
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


def shown_name(config: Path, folder: Path) -> str:
    """How ``--config`` takes it: ``family/name`` below a folder where names are looked for, else its path."""
    short = config.relative_to(folder).with_suffix("").as_posix()
    found = find(short)
    return short if found is not None and found.samefile(config) else str(config)


def run(verb: str, arguments: Sequence[str]) -> None:
    """List the configs, or the runs."""
    if arguments and arguments[0] == "runs":
        list_runs.run(arguments[1:])
        return
    description = "The configs there are, by family; 'lit-gen list runs' lists your runs instead (see its --help)."
    parser = OptionParser(prog="lit-gen list", description=description)
    parser.add_argument("family", nargs="?", help="only this family, e.g. vaes; or 'runs'")
    parser.add_argument("--folder", type=Path, help="where to look (default: conf here, and those that are installed)")
    options = parser.parse_args(list(arguments))
    if options.folder and not options.folder.is_dir():
        raise UserError(f"there is no folder {options.folder} to list the configs of")
    folders = [options.folder] if options.folder else [folder for folder in named_folders() if folder.is_dir()]
    families: dict[str, dict[str, str]] = {}
    parts: list[str] = []
    for folder in folders:
        for family, configs in find_configs(folder).items():
            shown = {shown_name(config, folder): title(config) for config in configs}
            families[family] = {**shown, **families.get(family, {})}
        parts += [shown_name(part, folder) for kind in PARTS for part in sorted(folder.glob(f"{kind}/*.yaml"))]
    if options.family and options.family not in families:
        raise UserError(f"there is no family '{options.family}'; there are {', '.join(families) or 'none'}")
    for family, configs in sorted(families.items()):
        if options.family in (None, family):
            print(family)
            for shown, what in sorted(configs.items()):
                print(f"  {shown}\n      {what}")
    if parts and not options.family:
        print(f"parts, for --data=… and --trainer=…\n  {', '.join(dict.fromkeys(parts))}")
