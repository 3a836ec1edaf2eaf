import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from sld.core.errors import SldError
from sld.core.files import check_file, write_bytes_atomic, write_text_atomic


def test_text_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "übersicht.md"
    write_text_atomic(path, "α = 0.34\n法則\n")
    assert path.read_bytes().decode("utf-8") == "α = 0.34\n法則\n"


def test_old_content_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    write_bytes_atomic(path, b"old")
    write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["law.json"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "No space left on device"), (errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")],
)
def test_failure_keeps_the_old_file_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    path = tmp_path / "law.json"
    write_text_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SldError, match=f"could not write .*law.json: {words}") as failure:
        write_text_atomic(path, "new")
    assert "\n" not in str(failure.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["law.json"]


def test_interrupt_while_writing_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text_atomic(tmp_path / "law.json", "new")
    assert os.listdir(tmp_path) == []


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SldError, match=r"no folder .*runs; create it first"):
        write_text_atomic(tmp_path / "runs" / "law.json", "{}")


def test_folder_in_the_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SldError, match="it is a folder"):
        write_text_atomic(tmp_path, "{}")
    assert os.listdir(tmp_path) == []


def test_impossible_name_is_refused() -> None:
    with pytest.raises(SldError, match="could not write"):
        write_text_atomic("law\0.json", "{}")


def test_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(SldError, match="could not write"):
        write_text_atomic(tmp_path / "runs" / "law.json", "{}")


@pytest.mark.skipif(sys.platform == "win32", reason="links and permissions are POSIX")
def test_link_and_permissions_survive(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_text_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="umask is POSIX")
def test_new_file_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "law.json", "{}")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "law.json").stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="no /dev/null")
def test_device_is_written_to_and_not_replaced() -> None:
    write_text_atomic(os.devnull, "{}")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_place_is_refused_before_the_work_as_it_would_be_after(tmp_path: Path) -> None:
    """The lines are those of writing, nothing is written, and what can be written passes."""
    for path in (tmp_path / "runs" / "law.json", tmp_path, "a\0b"):
        with pytest.raises(SldError) as early:
            check_file(Path(path))
        with pytest.raises(SldError) as late:
            write_text_atomic(path, "{}")
        assert str(early.value).casefold() == str(late.value).casefold()
    for path in (tmp_path / "law.json", Path(os.devnull)):
        check_file(path)
    assert os.listdir(tmp_path) == []
