import pytest

from lit_gen.atomic_file import replacing


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), replacing(tmp_path / "new" / "file") as part:
        part.write_text("half")
        raise RuntimeError
    assert list((tmp_path / "new").iterdir()) == []
    with replacing(tmp_path / "file") as part:
        part.write_text("whole")
        assert not (tmp_path / "file").exists()
    assert (tmp_path / "file").read_text() == "whole"
