"""A program on the leaderboard: run, scored, kept with its text, and run again by verify."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from programs import law

import sld
from sld.board.entries.entry import Entry
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.store import Board
from sld.board.entries.submission import Signature, program_entry
from sld.board.entries.verify import verify
from sld.board.programs.sandbox import Protection, detect
from sld.core.errors import DataError, SldError, UsageError

pytestmark = pytest.mark.skipif(not detect().enough, reason=f"programs cannot be locked up here: {detect()}")

TASK = sld.load_task("nanolm_chinchilla")
ROWS = ScoredTask(TASK)
EXAMPLES = Path(__file__).resolve().parents[1] / "leaderboard" / "examples"


@pytest.fixture(scope="module", params=["fit_and_predict.py", "law.py"])
def entry(request: pytest.FixtureRequest) -> Entry:
    return program_entry(ROWS, EXAMPLES / request.param, Signature("an example"), provenance={"command": "test"})


@pytest.mark.slow
def test_an_entry_holds_the_text_its_hash_and_what_held_it(entry: Entry) -> None:
    program = entry.provenance["program"]
    assert entry.key == program["sha256"] == hashlib.sha256(program["source"].encode()).hexdigest()
    assert "seccomp" in entry.provenance["protection"]
    assert entry.kind == entry.label == "program" and entry.expressions == {} and entry.complexity is None


def test_constants_are_counted_where_they_are_fitted_and_said_not_to_be_where_not(entry: Entry) -> None:
    program = entry.provenance["program"]
    if "fit_scaling_law" in program["source"]:
        assert entry.n_constants == 5 and len(program["parameters"]["all"]) == 5 and program["note"] == ""
    else:
        assert entry.n_constants is None and "not counted" in program["note"]


def test_the_file_gives_the_entry_back(entry: Entry) -> None:
    assert Entry.from_bytes(entry.file_bytes(), "file") == entry


@pytest.mark.slow
def test_verify_runs_it_again_when_asked(entry: Entry, tmp_path: Path) -> None:
    board = Board((tmp_path,))
    board.add(entry)
    (quick,) = verify(board, [TASK])
    (thorough,) = verify(board, [TASK], programs=True)
    assert quick.ok and "not run" in quick.remark
    assert thorough.ok and "run again" in thorough.remark and "seccomp" in thorough.remark


def test_verify_finds_an_edited_score_without_running_it(entry: Entry, tmp_path: Path) -> None:
    board = Board((tmp_path,))
    board.add(replace(entry, scores={**entry.scores, "r2": 0.999}, hash=""))
    (finding,) = verify(board, [TASK])
    assert "the entry says 0.999" in finding.problem


@pytest.mark.slow
def test_verify_finds_edited_predictions_and_an_edited_count(entry: Entry, tmp_path: Path) -> None:
    made = ROWS.held_out.Y * 1.001
    program = {**entry.provenance["program"], "predictions": made.tolist()}
    better = replace(
        entry,
        scores={**ROWS.score(made), "train_nmse": None},
        provenance={**entry.provenance, "program": program},
        hash="",
    )
    fewer = replace(entry, n_constants=1, hash="")
    for k, (edited, words) in enumerate([(better, "the program's R²"), (fewer, "constants, the entry says 1")]):
        board = Board((tmp_path / str(k),))
        board.add(edited)
        (finding,) = verify(board, [TASK], programs=True)
        assert words in finding.problem


def test_verify_finds_another_text(entry: Entry, tmp_path: Path) -> None:
    program = {**entry.provenance["program"], "source": law("pass")}
    board = Board((tmp_path,))
    board.add(replace(entry, provenance={**entry.provenance, "program": program}, hash=""))
    (finding,) = verify(board, [TASK])
    assert "not the one that the entry was made from" in finding.problem


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (law("raise ValueError('no')"), "mine.py: law failed in line 2: ValueError: no"),
        (law("return [{'loss': float('nan')}] * len(input_data)"), "mine.py: law predicted nan for point 1 of 28"),
        (law("return []"), "mine.py: law returned 0 predictions; wanted 28, one per point"),
        ("x = 1", "mine.py must define"),
    ],
)
def test_a_program_that_fails_makes_no_entry(tmp_path: Path, source: str, words: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(SldError, match=words) as caught:
        program_entry(ROWS, path, Signature("mine"), provenance={})
    assert isinstance(caught.value, DataError) == (source == "x = 1")


def test_no_entry_without_protection_unless_one_insists(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Protection(None, 0, False, ("Landlock: not in this kernel (4.4)",))
    monkeypatch.setattr("sld.board.programs.program.detect", lambda: nothing)
    with pytest.raises(UsageError, match="not in this kernel"):
        program_entry(ROWS, EXAMPLES / "law.py", Signature("an example"), provenance={})
    entry = program_entry(ROWS, EXAMPLES / "law.py", Signature("an example"), provenance={}, unsafe=True)
    assert entry.provenance["protection"].startswith("none (")
