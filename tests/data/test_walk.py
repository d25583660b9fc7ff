"""Going through folders: what is found, what is passed over, what is refused."""

import os

import pytest

from lit_gen.data.description import Notes
from lit_gen.data.walk import walk
from lit_gen.errors import UserError


def write(folder, *names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("content")


def test_names_with_a_leading_dot_are_no_data(tmp_path):
    write(tmp_path, "b/2.txt", "a/deep/er/1.txt", ".hidden/3.txt", "a/.DS_Store", "a/.ipynb_checkpoints/4.txt", "c.txt")
    notes = Notes()
    found = walk(tmp_path, notes)
    assert found.files == [tmp_path / name for name in ("a/deep/er/1.txt", "b/2.txt", "c.txt")]
    assert found.folders == [tmp_path / "a", tmp_path / "b"]
    assert notes.passed_over["hidden"].count == 3
    assert set(notes.passed_over["hidden"].first) == {".hidden", "a/.DS_Store", "a/.ipynb_checkpoints"}


def test_links_are_followed(tmp_path):
    write(tmp_path / "elsewhere", "1.txt", "inner/2.txt")
    write(tmp_path / "here", "own/0.txt")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "again").symlink_to(tmp_path / "elsewhere")  # twice the same, but no loop
    (tmp_path / "here" / "own" / "one.txt").symlink_to("../../elsewhere/1.txt")
    found = walk(tmp_path / "here", Notes())
    assert [str(file.relative_to(tmp_path / "here")) for file in found.files] == [
        "again/1.txt",
        "again/inner/2.txt",
        "linked/1.txt",
        "linked/inner/2.txt",
        "own/0.txt",
        "own/one.txt",
    ]
    assert [folder.name for folder in found.folders] == ["again", "linked", "own"]


def test_a_link_to_a_folder_above_is_refused(tmp_path):
    write(tmp_path, "a/b/1.txt")
    (tmp_path / "a" / "b" / "back").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match=rf"b/back is a link back to {tmp_path}/a, which it lies in"):
        walk(tmp_path, Notes())
    (tmp_path / "a" / "b" / "back").rename(tmp_path / "a" / "b" / ".back")
    assert len(walk(tmp_path, Notes()).files) == 1


@pytest.mark.parametrize(("target", "message"), [("nowhere", "a link to nowhere, which is not there"), ("x", "itself")])
def test_a_link_to_nothing_is_refused(tmp_path, target, message):
    (tmp_path / "x").symlink_to(target)
    with pytest.raises(UserError, match=message):
        walk(tmp_path, Notes())


def test_pipes_are_no_files(tmp_path):
    write(tmp_path, "1.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    notes = Notes()
    assert [file.name for file in walk(tmp_path, notes).files] == ["1.txt"]
    assert notes.passed_over["no regular file"].first == ["pipe.txt"]


def test_names_that_are_not_utf_8_are_found_and_can_be_printed(tmp_path):
    write(tmp_path, "1.txt")
    os.rename(tmp_path / "1.txt", os.fsencode(tmp_path) + b"/\xff.txt")
    os.mkdir(os.fsencode(tmp_path) + b"/.\xfe")
    notes = Notes()
    (file,) = walk(tmp_path, notes).files
    assert file.read_text() == "content"
    assert notes.passed_over["hidden"].first == [r".\xfe"]
    assert str(UserError(f"{file.name} is odd")) == r"\xff.txt is odd"
