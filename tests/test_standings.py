"""Tables: who is ranked, what is only reported, what a mean is taken of; LEADERBOARD.md says the same."""

import csv
from pathlib import Path

import pytest
from boards import edited, entry_of, write_task
from many_cases import each

import sld
from sld.api import known_tasks
from sld.board.entries.entry import Entry
from sld.board.entries.markdown import escaped, markdown
from sld.board.entries.reported import COLUMNS, Figure, reported
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.standings import REPORTED, Standings, TaskStandings, standings
from sld.board.entries.store import Board, bundled_board
from sld.core.errors import DataError
from sld.data.task import load_task

ROOT = Path(__file__).resolve().parents[1]
HEADER = ",".join(COLUMNS)


@pytest.fixture(scope="module")
def entries(rows: ScoredTask) -> list[Entry]:
    return [entry_of(rows, text, text) for text in ("A*N**-a", "E + A*N**-a", "E + A*log(N)")]


@pytest.fixture(scope="module")
def bundled() -> Standings:
    root = bundled_board()
    assert root is not None
    return standings(Board((root,)), [load_task(name) for name in sld.bundled_tasks()])


def board_with(folder: Path, *found: Entry, figures: str = "") -> Board:
    board = Board((folder,))
    for entry in found:
        board.add(entry)
    if figures:
        (folder / "reported").mkdir()
        (folder / "reported" / "suite.csv").write_text(f"{HEADER}\n{figures}\n", encoding="utf-8")
    return board


def table_of(found: Standings, name: str) -> TaskStandings:
    return next(table for table in found.tasks if table.name == name)


def test_the_best_r2_comes_first(tmp_path: Path, rows: ScoredTask, entries: list[Entry]) -> None:
    table = table_of(standings(board_with(tmp_path, *entries), [rows.task]), "powers")
    assert [row.rank for row in table.rows] == [1, 2, 3]
    scores = [row.r2 for row in table.rows]
    assert scores == sorted((e.scores["r2"] for e in entries), reverse=True)
    assert table.rows[0].name == "E + A*N**-a" and table.card is rows.task.card


def test_reported_figures_have_no_rank_and_stand_below(tmp_path: Path, rows: ScoredTask, entries: list[Entry]) -> None:
    figures = "best,ever,powers,3,1.0,1.0,a paper\nworse,ever,powers,1,0.5,,a paper"
    table = table_of(standings(board_with(tmp_path, entries[0], figures=figures), [rows.task]), "powers")
    assert [(row.rank, row.label) for row in table.rows] == [(1, "refitted"), (None, REPORTED), (None, REPORTED)]
    assert [row.note for row in table.rows[1:]] == ["mean of 3 runs, the best 1.000", "one run"]
    assert table.rows[1].source == "a paper" and table.rows[1].entry is None


def test_a_task_whose_rows_are_not_here_has_reported_figures_only(tmp_path: Path, rows: ScoredTask) -> None:
    found = standings(board_with(tmp_path, figures="x,y,far,3,0.5,0.6,z"), [rows.task])
    table = table_of(found, "suite_far")
    assert (table.card, table.task, table.suite) == (None, None, "suite")
    assert [row.rank for row in table.rows] == [None]


def test_slugs_are_unique_within_a_task(tmp_path: Path, rows: ScoredTask, entries: list[Entry]) -> None:
    figures = "a b,,powers,1,0.1,,s\na-b,,powers,1,0.2,,s\nA B,,powers,1,0.3,,s"
    table = table_of(standings(board_with(tmp_path, *entries, figures=figures), [rows.task]), "powers")
    slugs = [row.slug for row in table.rows]
    assert len(set(slugs)) == len(slugs) == 6


def test_entries_of_other_rows_are_left_out_and_named(tmp_path: Path, rows: ScoredTask, entries: list[Entry]) -> None:
    stale = edited(entries[0], "task", "digest", value="0" * 64)
    old = edited(entries[1], "task", "version", value=7)
    found = standings(board_with(tmp_path, stale, old, entries[2]), [rows.task])
    assert [row.entry for row in table_of(found, "powers").rows] == [entries[2]]
    assert any("other rows" in text for text in found.problems)
    assert any("version 7" in text for text in found.problems)


def test_a_formula_that_cannot_be_read_is_left_out(tmp_path: Path, rows: ScoredTask, entries: list[Entry]) -> None:
    bad = edited(entries[0], "expressions", "loss", value="open('x')")
    found = standings(board_with(tmp_path, bad), [rows.task])
    assert table_of(found, "powers").rows == () and "formula" in found.problems[0]


def test_means_are_clipped_and_take_several_entries_of_a_name_together(tmp_path: Path) -> None:
    tasks = [load_task(write_task(tmp_path, name)) for name in ("one", "two")]
    board = Board((tmp_path / "board",))
    for task in tasks:
        for k, text in enumerate(["E + A*N**-a", "A*N**-a"]):
            entry = entry_of(ScoredTask(task), text, "same name")
            low = -139.0 if task.name == "two" else 0.5 + 0.2 * k
            board.add(edited(entry, "scores", "r2", value=low))
    (row,) = (row for row in standings(board, tasks).overall if row.name == "same name")
    assert row.per_task == {"one": pytest.approx(0.6), "two": -1.0}
    assert row.mean_r2 == pytest.approx(-0.2) and row.n_tasks == 2


def test_means_over_fewer_tasks_stand_below(bundled: Standings) -> None:
    rows = [row for row in bundled.overall if row.suite == "sldbench"]
    assert [row.n_tasks for row in rows] == sorted((row.n_tasks for row in rows), reverse=True)
    assert {row.label for row in rows} == {REPORTED}


def test_the_published_marks_of_the_benchmark_come_out(bundled: Standings) -> None:
    # human laws 0.517, NAI 0.706, SLDAgent with GPT-5 0.748: means over the eight tasks as published
    means = {row.name: row.mean_r2 for row in bundled.overall if row.suite == "sldbench"}
    assert means["human"] == pytest.approx(0.517, abs=5e-4)
    assert means["NAI, v9"] == pytest.approx(0.706, abs=5e-4)
    assert means["SLDAgent, gpt-5"] == pytest.approx(0.748, abs=5e-4)


@each("name", sld.bundled_tasks())
def test_every_law_of_a_bundled_card_is_on_the_board(bundled: Standings, name: str) -> None:
    card = load_task(name).card
    laws = {row.name: row for row in table_of(bundled, name).rows if row.entry and row.label == "refitted"}
    assert {law.name for law in card.laws} <= set(laws)
    published = {row.name for row in table_of(bundled, name).rows if row.label == "as published"}
    assert {law.name for law in card.laws if law.values} <= published


def test_nothing_of_the_bundled_board_is_left_out(bundled: Standings) -> None:
    assert bundled.problems == ()


def test_the_markdown_file_is_made_from_the_entries(bundled: Standings) -> None:
    file = ROOT / "leaderboard" / "LEADERBOARD.md"
    way_out = "sld leaderboard --markdown > leaderboard/LEADERBOARD.md"
    assert markdown(bundled) == file.read_text(encoding="utf-8"), way_out


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a|b", "[x](javascript:y)", "`code`", "![i](u)", "# h", "a*b_c"]
)
def test_names_do_not_become_markdown(tmp_path: Path, rows: ScoredTask, entries: list[Entry], name: str) -> None:
    board = board_with(tmp_path, edited(entries[0], "name", value=name))
    line = next(text for text in markdown(standings(board, [rows.task])).splitlines() if text.startswith("| 1 |"))
    cell = line.removeprefix("| 1 | ").partition(" | refitted")[0]
    assert cell == escaped(name)
    assert "<" not in cell and not any(c in cell.replace(f"\\{c}", "") for c in "|[]`*_!#:")


def test_the_reported_figures_are_read_whole() -> None:
    root = bundled_board()
    assert root is not None
    figures = list(reported(Board((root,))))
    with (root / "reported" / "sldbench.csv").open(encoding="utf-8") as file:
        n = len(list(csv.DictReader(file)))
    assert len(figures) == n == 216 and all(isinstance(f, Figure) and f.source for f in figures)


@pytest.mark.parametrize(
    "text",
    ["", "agent,model\nx,y", f"{HEADER}\nx,y,t,1,nan,1,s", f"{HEADER}\nx,y,t,1,0.5", f"{HEADER}\nx,y,t,0,0.5,0.5,s",
     f"{HEADER}\nx,y,t,1,0.5,0.5,\u202e", f'{HEADER}\n"x,y', f"{HEADER}\n,y,t,1,0.5,0.5,s"],
)  # fmt: skip
def test_a_bad_table_of_figures_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "reported").mkdir()
    (tmp_path / "reported" / "suite.csv").write_text(text, encoding="utf-8")
    (problem,) = reported(Board((tmp_path,)))
    assert isinstance(problem, DataError) and "reported/suite.csv" in str(problem) and "\n" not in str(problem)


def test_a_suite_of_the_own_board_hides_the_bundled_one(tmp_path: Path) -> None:
    for k, root in enumerate(("own", "bundled")):
        (tmp_path / root / "reported").mkdir(parents=True)
        text = f"{HEADER}\nx,y,t,1,0.{k},,s\n"
        (tmp_path / root / "reported" / "suite.csv").write_text(text, encoding="utf-8")
    found = list(reported(Board((tmp_path / "own", tmp_path / "bundled"))))
    assert [f.mean_r2 for f in found if isinstance(f, Figure)] == [0.0]


def test_the_python_surface_gives_the_same_tables(bundled: Standings) -> None:
    names = [table.name for table in sld.leaderboard().tasks]
    assert names == [table.name for table in bundled.tasks]
    assert {task.name for task in known_tasks()} == set(sld.bundled_tasks())
