import errno
import os
from pathlib import Path

import pytest

from lit_gen.atomic_file import replacing, replacing_folder


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), replacing(tmp_path / "new" / "file") as part:
        part.write_text("half")
        raise RuntimeError
    assert list((tmp_path / "new").iterdir()) == []
    with replacing(tmp_path / "file") as part:
        part.write_text("whole")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_found_full_at_the_very_end_leaves_the_old_file(tmp_path, monkeypatch, call):
    """Network file systems and quotas report a full disk only when what was written is sent on its way."""
    file = tmp_path / "file"
    file.write_text("old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"), replacing(file) as part:
        part.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    for text in ("first", "second"):
        with replacing(tmp_path / "link") as part:
            part.write_text(text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "there" / "file").read_text() == text
    assert len(list((tmp_path / "there").iterdir())) == 1


def fill(folder: Path, *names: str) -> None:
    with replacing_folder(folder, lambda name: name.endswith(".png")) as part:
        for name in names:
            (part / name).write_text("new")


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a link to a folder"])
def test_a_folder_appears_with_all_its_files(tmp_path, there):
    folder = tmp_path / "deep" / "folder"
    if there == "an empty folder":
        folder.mkdir(parents=True)
    if there == "a link to a folder":
        (tmp_path / "elsewhere").mkdir()
        folder.parent.mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    fill(folder, "0.png", "1.png")
    assert content(folder) == {"0.png": "new", "1.png": "new"}
    assert list(folder.parent.iterdir()) == [folder]
    assert folder.is_symlink() == (there == "a link to a folder")


def test_old_files_of_ours_go_and_others_stay(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for name in ("0.png", "7.png", "notes.txt", "sub/0.png"):
        (folder / name).write_text("old")
    fill(folder, "0.png", "1.png")
    assert content(folder) == {"0.png": "new", "1.png": "new", "notes.txt": "old", "sub/0.png": "old"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "0.png").write_text("old")
    for target in (folder, tmp_path / "new"):
        with pytest.raises(RuntimeError), replacing_folder(target, lambda name: True) as part:
            (part / "0.png").write_text("half")
            raise RuntimeError
    assert content(tmp_path) == {"folder/0.png": "old"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_mount_point_is_filled_from_within(tmp_path, monkeypatch):
    """As where a container has its volume."""
    folder = tmp_path / "volume"
    folder.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == folder)
    before = folder.stat().st_ino
    fill(folder, "0.png", "1.png")
    assert content(folder) == {"0.png": "new", "1.png": "new"} and folder.stat().st_ino == before
    assert list(tmp_path.iterdir()) == [folder]
