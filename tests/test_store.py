"""Boards on disk: files are whole, nobody's is overwritten, and writers may run side by side or be killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from boards import edited, entry_of

from sld.board.entries.entry import Entry
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.store import Board, bundled_board
from sld.core.errors import DataError, UsageError

WRITER = Path(__file__).with_name("board_writer.py")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def entry(rows: ScoredTask) -> Entry:
    return entry_of(rows, "E + A*N**-a")


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_entry_lies_in_the_folder_of_its_task(tmp_path: Path, entry: Entry) -> None:
    added = Board((tmp_path,)).add(entry)
    assert added.new and added.path == tmp_path / "submissions" / "powers" / f"a-law-{entry.hash[:10]}.json"
    assert list(Board((tmp_path,)).entries("powers")) == [(added.path, entry)]
    assert [p.name for p in added.path.parent.iterdir()] == [added.path.name]


def test_the_same_law_under_another_name_changes_nothing(tmp_path: Path, entry: Entry) -> None:
    board = Board((tmp_path,))
    first = board.add(entry)
    before = files_of(tmp_path)
    again = board.add(edited(entry, "name", value="somebody else's"))
    assert (again.new, again.path, again.entry) == (False, first.path, entry)
    assert files_of(tmp_path) == before


def test_two_people_with_one_name_have_two_files(tmp_path: Path, rows: ScoredTask, entry: Entry) -> None:
    board = Board((tmp_path,))
    paths = {board.add(entry).path, board.add(entry_of(rows, "A*N**-a")).path}
    assert len(paths) == 2 and all(path.name.startswith("a-law-") for path in paths)


def test_a_file_in_the_way_is_not_overwritten(tmp_path: Path, entry: Entry) -> None:
    folder = tmp_path / "submissions" / "powers"
    folder.mkdir(parents=True)
    (folder / f"{entry.file_stem}.json").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists"):
        Board((tmp_path,)).add(entry)
    assert files_of(folder) == {f"{entry.file_stem}.json": b"mine"}


def test_a_law_that_came_with_the_package_is_there_already(tmp_path: Path, entry: Entry) -> None:
    Board((tmp_path / "bundled",)).add(entry)
    own = Board((tmp_path / "own", tmp_path / "bundled"))
    assert not own.add(edited(entry, "name", value="again")).new
    assert not files_of(tmp_path / "own")


def test_one_folder_named_twice_is_read_once(tmp_path: Path, entry: Entry) -> None:
    Board((tmp_path,)).add(entry)
    assert len(list(Board((tmp_path, tmp_path / ".")).entries())) == 1


def test_what_is_left_of_a_killed_writer_is_cleared_away(tmp_path: Path, entry: Entry) -> None:
    folder = tmp_path / "submissions" / "powers"
    folder.mkdir(parents=True)
    (folder / ".half.123.tmp").write_text("{", encoding="utf-8")
    assert list(Board((tmp_path,)).entries()) == []
    Board((tmp_path,)).add(entry)
    assert len(files_of(folder)) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and links here")
def test_links_pipes_and_folders_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "submissions" / "powers"
    folder.mkdir(parents=True)
    (folder / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.json")
    (folder / "folder.json").mkdir()
    found = list(Board((tmp_path,)).entries())
    assert len(found) == 3
    for path, error in found:
        assert isinstance(error, DataError) and str(error) == f"powers/{path.name} is not a plain file"


def test_a_file_in_the_wrong_place_or_under_another_name_is_named(tmp_path: Path, entry: Entry) -> None:
    for folder, name in (("other", f"{entry.file_stem}.json"), ("powers", "best.json")):
        path = tmp_path / "submissions" / folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(entry.file_bytes())
    errors = [str(error) for _, error in Board((tmp_path,)).entries()]
    assert any("other/" in e and "another folder" in e for e in errors)
    assert any("best.json should be called" in e for e in errors)


def test_a_board_that_cannot_be_written_is_one_line(tmp_path: Path, entry: Entry) -> None:
    (tmp_path / "submissions").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="could not write to"):
        Board((tmp_path,)).add(entry)
    with pytest.raises(UsageError, match="not a folder"):
        Board.at(tmp_path / "submissions")


def test_where_a_board_is(tmp_path: Path) -> None:
    bundled = bundled_board()
    assert bundled == ROOT / "leaderboard"
    assert Board.at().roots == (bundled,)
    assert Board.at(tmp_path).roots == (tmp_path, bundled)
    assert Board.at(bundled).roots == (bundled,)
    assert Board.at(tmp_path / "new").roots == (tmp_path / "new", bundled)
    with pytest.raises(UsageError, match="there is no leaderboard"):
        Board.at(tmp_path / "new", reading=True)
    assert Board.at(reading=True).roots == (bundled,)


def test_outside_a_checkout_the_board_is_among_the_users_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "_leaderboard"
    monkeypatch.setattr("sld.board.entries.store.bundled_board", lambda: inside)
    assert Board.at(data=tmp_path).roots == (tmp_path / "leaderboard", inside)
    with pytest.raises(UsageError, match="--board"):
        Board.at()


def start_writer(board: Path, template: Path, first: int, n: int) -> "subprocess.Popen[str]":
    words = [sys.executable, str(WRITER), str(board), str(template), str(first), str(n)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE)


@pytest.mark.slow
def test_two_writers_at_once_leave_every_entry_whole(tmp_path: Path, entry: Entry) -> None:
    template = tmp_path / "template.json"
    template.write_bytes(entry.file_bytes())
    writers = [start_writer(tmp_path, template, first, 100) for first in (0, 100)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    found = [e for _, e in Board((tmp_path,)).entries()]
    assert len(found) == 200 and all(isinstance(e, Entry) for e in found)
    assert {e.name for e in found if isinstance(e, Entry)} == {f"law {k}" for k in range(200)}
    assert len(files_of(tmp_path / "submissions")) == 200


def test_two_writers_of_one_law_leave_one_entry(tmp_path: Path, entry: Entry) -> None:
    template = tmp_path / "template.json"
    template.write_bytes(entry.file_bytes())
    writers = [start_writer(tmp_path, template, 0, 20) for _ in range(2)]
    said = [writer.communicate(timeout=120)[0].split() for writer in writers]
    assert len(files_of(tmp_path / "submissions")) == 20
    assert sum(words.count("new") for words in said) == 20


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
@pytest.mark.parametrize("n_kills", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_a_writer_killed_at_any_moment_leaves_whole_files_only(tmp_path: Path, entry: Entry, n_kills: int) -> None:
    template = tmp_path / "template.json"
    template.write_bytes(entry.file_bytes())
    rng = random.Random(0)
    for k in range(n_kills):
        writer = start_writer(tmp_path, template, 50 * k, 50)
        assert writer.stdout is not None
        writer.stdout.readline()  # the first entry is written; the kill falls somewhere into the others
        time.sleep(rng.uniform(0.0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = [e for _, e in Board((tmp_path,)).entries()]
        assert found and all(isinstance(e, Entry) for e in found)
    # the next writer clears up, and is not held up by a lock of the dead
    start = start_writer(tmp_path, template, 10_000, 1)
    assert start.communicate(timeout=60)[0] == "new\n"
    assert not [p for p in (tmp_path / "submissions").rglob(".*")]
    for path, _ in Board((tmp_path,)).entries():
        json.loads(path.read_bytes())
