"""Run folders: what a search writes survives a kill, and belongs to one question and one process."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_cases import each

from sld.core.errors import SldError, UsageError
from sld.data.card import Target, Variable
from sld.data.table import Table
from sld.search.candidates.candidate import Candidate, Judgement
from sld.search.run_folder import (
    CONFIG,
    EVENTS,
    FRONT,
    LOCK,
    RunFolder,
    columns_record,
    default_folder,
    from_event,
    to_event,
)

ROOT = Path(__file__).parents[1]
CONFIGURATION = {"seed": 0, "rows": "abc", "proposers": ["catalogue"], "task": {"name": "größe", "version": 1}}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / EVENTS).read_text(encoding="utf-8").splitlines()]


def write(folder: Path, n: int) -> None:
    with RunFolder(folder, CONFIGURATION) as run:
        run.record([{"i": i} for i in range(n)])


def test_a_new_folder_is_made_with_its_parents_and_records_the_question(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "été 1"
    with RunFolder(folder, CONFIGURATION) as run:
        assert list(run.events()) == []
    assert json.loads((folder / CONFIG).read_text(encoding="utf-8")) == CONFIGURATION
    assert not (folder / LOCK).exists()


def test_events_come_back_in_order(tmp_path: Path) -> None:
    with RunFolder(tmp_path, CONFIGURATION) as run:
        run.record([{"i": 0, "text": "β ≤ 1"}, {"i": 1}])
        # handed to the operating system at once: a kill right now loses nothing
        assert len(lines(tmp_path)) == 2
        run.record([{"i": 2}])
    with RunFolder(tmp_path, CONFIGURATION) as run:
        assert [e["i"] for e in run.events()] == [0, 1, 2]
        run.record([{"i": 3}])
    assert [e["i"] for e in lines(tmp_path)] == [0, 1, 2, 3]
    assert lines(tmp_path)[0]["text"] == "β ≤ 1"


TAILS = ['{"i": 5, "fo', '{"i": 5}', "\x00\x00\x00\x00", "[1, 2]\n", "\n", '"text"\n', "\ufffd"]


@pytest.mark.parametrize("tail", TAILS)
def test_a_damaged_last_line_is_dropped_and_written_over(tmp_path: Path, tail: str) -> None:
    write(tmp_path, 3)
    with open(tmp_path / EVENTS, "a", encoding="utf-8") as file:
        file.write(tail)
    with RunFolder(tmp_path, CONFIGURATION) as run:
        assert [e["i"] for e in run.events()] == [0, 1, 2]
        run.record([{"i": 3}])
    assert [e["i"] for e in lines(tmp_path)] == [0, 1, 2, 3]


def test_bytes_that_are_no_text_are_a_damaged_line(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with open(tmp_path / EVENTS, "ab") as file:
        file.write(b'{"i": "\xff\xfe"}\n')
    with RunFolder(tmp_path, CONFIGURATION) as run:
        assert [e["i"] for e in run.events()] == [0, 1, 2]


def test_nothing_after_a_damaged_line_is_believed(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with open(tmp_path / EVENTS, "a", encoding="utf-8") as file:
        file.write('{"i": 3\n{"i": 4}\n')
    with RunFolder(tmp_path, CONFIGURATION) as run:
        assert [e["i"] for e in run.events()] == [0, 1, 2]
    assert len(lines(tmp_path)) == 3


def test_another_task_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    write(tmp_path, 3)
    with pytest.raises(UsageError, match=r"another run \(different: rows, task\); choose another --out"):
        with RunFolder(tmp_path, {**CONFIGURATION, "task": {"name": "other", "version": 1}, "rows": "def"}):
            pass
    # the refused one leaves no trace
    assert not (tmp_path / LOCK).exists()
    write(tmp_path, 1)
    assert len(lines(tmp_path)) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"proposers": ["enumeration"]}, "held a search with other proposers"),
        ({"formulas": ["E"]}, "held a search with other formulas to try"),
        ({"max_constants": 3, "seed": 4}, "held a search with other limit of constants and other seed"),
        ({"rows": "def"}, "held a search with other rows"),
        ({"llm": {"model": "m"}}, "held a search with other language model"),
    ],
)
def test_an_earlier_search_with_other_options_is_set_aside_whole(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    write(tmp_path, 3)
    (tmp_path / "law.json").write_text("{}", encoding="utf-8")
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "exchange.jsonl").write_text("asked\n", encoding="utf-8")
    (tmp_path / "points.csv").write_text("mine\n", encoding="utf-8")
    told: list[str] = []
    with RunFolder(tmp_path, CONFIGURATION | change, told.append) as run:
        assert list(run.events()) == []
        run.record([{"i": 0}])
    kept = tmp_path / "earlier-1"
    assert told == [f"{tmp_path} {said}; that is kept in {kept}, and a new search begins"]
    assert json.loads((kept / CONFIG).read_text(encoding="utf-8")) == CONFIGURATION
    assert len(lines(kept)) == 3
    assert (kept / "law.json").read_text(encoding="utf-8") == "{}"
    assert (kept / "llm" / "exchange.jsonl").read_text(encoding="utf-8") == "asked\n"
    # what no search wrote stays where it is
    assert (tmp_path / "points.csv").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == [CONFIG, "earlier-1", EVENTS, "points.csv"]
    write(tmp_path, 2)
    assert len(lines(tmp_path / "earlier-2")) == 1


def test_a_config_of_an_earlier_version_lacks_what_it_did_not_write(tmp_path: Path) -> None:
    write(tmp_path, 3)
    told: list[str] = []
    with RunFolder(tmp_path, {**CONFIGURATION, "columns": {"targets": []}}, told.append) as run:
        assert len(list(run.events())) == 3
    assert told == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"seed"'])
def test_a_damaged_config_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    write(tmp_path, 3)
    (tmp_path / CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="choose another --out") as caught:
        with RunFolder(tmp_path, CONFIGURATION):
            pass
    assert "\n" not in str(caught.value)


def test_events_without_a_config_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / EVENTS).write_text("precious\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"has events\.jsonl but no config\.json"):
        with RunFolder(tmp_path, CONFIGURATION):
            pass
    assert (tmp_path / EVENTS).read_text(encoding="utf-8") == "precious\n"


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("", encoding="utf-8")
    for path in (tmp_path / "runs", tmp_path / "runs" / "one"):
        with pytest.raises(UsageError, match="cannot use run folder"):
            with RunFolder(path, CONFIGURATION):
                pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            with RunFolder(tmp_path, CONFIGURATION):
                pass
    finally:
        tmp_path.chmod(0o700)


HOLDER = """
import sys
from sld.search.run_folder import RunFolder
with RunFolder(sys.argv[1], {config!r}):
    print("ready", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(config=CONFIGURATION), str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_a_folder_in_use_by_another_process_is_refused_and_free_after_a_kill(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with hold(tmp_path) as process:
        with pytest.raises(UsageError, match="is in use by another process; wait for it or choose another --out"):
            with RunFolder(tmp_path, CONFIGURATION):
                pass
        # the refused one must not take the other's lock away
        assert (tmp_path / LOCK).exists()
        with pytest.raises(UsageError, match="in use"):
            with RunFolder(tmp_path, CONFIGURATION):
                pass
        process.kill()
        process.communicate()
    write(tmp_path, 2)
    assert len(lines(tmp_path)) == 2


def test_a_second_run_in_the_same_process_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with RunFolder(tmp_path, CONFIGURATION):
        with pytest.raises(UsageError, match="in use"):
            with RunFolder(tmp_path, CONFIGURATION):
                pass
    write(tmp_path, 1)


def test_a_lock_on_a_file_that_is_gone_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock
    calls: list[int] = []

    def slow(file: Any, how: int) -> None:
        if not calls:
            # the run that held the folder ends between our opening the file and locking it
            (tmp_path / LOCK).unlink()
        calls.append(how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    with RunFolder(tmp_path, CONFIGURATION):
        assert len(calls) == 2
        assert (tmp_path / LOCK).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with RunFolder(tmp_path, CONFIGURATION) as run:
        (tmp_path / EVENTS).symlink_to("/dev/full")
        with pytest.raises(UsageError, match=r"could not write .*events.jsonl: No space left on device"):
            run.record([{"i": 0}])
    assert not (tmp_path / LOCK).exists()


TABLE = Table(
    (Variable("N"), Variable("D")),
    (Target("loss"), Target("score")),
    np.ones((4, 2)),
    np.ones((4, 2)),
    ("a", "b"),
    np.array([0, 0, 1, 1]),
)


def judged() -> Candidate:
    expressions = {"loss": TABLE.parse("E + A*N**-a", 0), "score": TABLE.parse("E + A*D**-a", 1)}
    return Candidate(
        expressions=expressions,
        key="one | two",
        origin="enumeration",
        judgements=(
            Judgement(-1.2345678901234567, (0.1 + 0.2, math.nan, 1e-17), 1e-9),
            Judgement(-1.0, (0.1 + 0.2, 0.25, 1e-17), 2e-9, False, ("runs away at N = 1e+12",)),
        ),
        shared={"loss": ("a",)},
        constants={t: {g: {"E": 1 / 3, "A": 1e-300, "a": 0.1} for g in ("a", "b")} for t in expressions},
        island=3,
    )


def test_a_candidate_comes_back_from_its_line_bit_for_bit() -> None:
    before = judged()
    event = json.loads(json.dumps(to_event(7, before, 42, 1.5)))
    after, n_fits = from_event(event, TABLE)
    assert n_fits == 42
    assert event["i"] == 7
    assert math.isnan(after.fold_errors[1])
    # NaN equals nothing, so texts are compared: repr() of a float is exact
    for name in (*Candidate.__dataclass_fields__, "score", "fold_errors", "train_nmse", "admissible", "reasons"):
        assert repr(getattr(after, name)) == repr(getattr(before, name)), name


def test_a_failure_comes_back_as_the_sentence_it_was() -> None:
    failed = Candidate(expressions=judged().expressions, key="k", origin="o", status="explains nothing")
    event = to_event(0, failed, 5, 0.0)
    assert "score" not in event
    after, n_fits = from_event(json.loads(json.dumps(event)), TABLE)
    assert (after.status, n_fits, after.score) == ("explains nothing", 5, math.inf)


def test_events_are_plain_json_even_when_a_fold_failed() -> None:
    json.dumps(to_event(0, judged(), 1, 0.0), allow_nan=False)


@each("change", [{"expression": {"other": "E"}}, {"targets": 3}, {"fits": "many"}, {"targets": [{"folds": 3}] * 2}])
def test_a_line_of_another_task_is_one_sentence(change: dict[str, Any]) -> None:
    event = to_event(0, judged(), 1, 0.0) | change
    with pytest.raises(SldError, match="line that does not fit this task"):
        from_event(event, TABLE)


def test_the_front_is_a_table_that_spreadsheets_read(tmp_path: Path) -> None:
    import csv

    with RunFolder(tmp_path, CONFIGURATION) as run:
        run.write_front([judged()])
    with open(tmp_path / FRONT, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["expression"] == "loss: E + A*N**-a; score: E + A*D**-a"
    assert float(rows[0]["score"]) == pytest.approx(-1.11728)  # mean of both


def test_a_front_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunFolder(tmp_path, CONFIGURATION) as run:
        run.write_front([judged()])
        before = (tmp_path / FRONT).read_text(encoding="utf-8")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"could not write .*front.csv: No space left on device"):
            run.write_front([])
    assert (tmp_path / FRONT).read_text(encoding="utf-8") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [CONFIG, FRONT]


def sizes(**roles: Any) -> Table:
    from sld.data.table import table_from

    n = np.geomspace(1e6, 1e9, 12)
    data = {"N": n, "lr": np.tile([1e-3, 2e-3, 3e-3], 4), "loss": 1.5 + 200 * n**-0.3, "acc": 0.9 - 50 * n**-0.4}
    return table_from(data, **{"target": "loss", "scale": "N", **roles})


def test_results_of_two_targets_of_one_file_lie_side_by_side(tmp_path: Path) -> None:
    def take(table: Table) -> Path:
        folder = default_folder(tmp_path, "runs", table, 0)
        with RunFolder(folder, {**CONFIGURATION, "rows": table.digest(), "columns": columns_record(table)}):
            return folder

    loss, acc = sizes(), sizes(target="acc")
    tuned = sizes(hyper="lr")
    assert [take(t).name for t in (loss, acc, tuned)] == ["runs-0", "runs-acc-0", "runs-loss-0"]
    assert [take(t).name for t in (loss, acc, tuned)] == ["runs-0", "runs-acc-0", "runs-loss-0"]
    assert take(sizes(hyper="lr", target="acc")).name == "runs-acc-N-lr-0"
    # a declared direction is no other question
    assert take(sizes(monotone={"N": "decreasing"})).name == "runs-0"
    assert default_folder(tmp_path, "runs", loss, 1).name == "runs-1"


def test_a_folder_of_an_earlier_version_is_known_by_its_law(tmp_path: Path) -> None:
    from sld.laws.law import Law

    table = sizes()
    write(tmp_path / "runs-0", 1)
    assert default_folder(tmp_path, "runs", sizes(target="acc"), 0).name == "runs-0"  # nobody can say
    law = Law({"loss": table.parse("E")}, {"loss": {"all": {"E": 1.0}}}, table.variables, table.targets)
    law.save(tmp_path / "runs-0" / "law.json")
    assert default_folder(tmp_path, "runs", sizes(target="acc"), 0).name == "runs-acc-0"
    assert default_folder(tmp_path, "runs", table, 0).name == "runs-0"


def search(table: Table, folder: Path, told: list[str], **options: Any) -> Any:
    from sld.search.discovery import SearchSettings, discover

    settings = SearchSettings(**{"budget": "150fits", **options})
    return discover(table, settings, out=folder, tell=told.append, task={"name": "t"})


@pytest.mark.slow
def test_a_search_that_is_taken_up_says_so_and_one_with_another_option_begins_anew(tmp_path: Path) -> None:
    told: list[str] = []
    table = sizes()
    first = search(table, tmp_path / "run", told, workers=1)
    assert told == []
    again = search(table, tmp_path / "run", told, budget="300fits", workers=2)
    n = len(lines(tmp_path / "run"))
    assert again.counts["tried"] == n > first.counts["tried"]
    assert told.pop().startswith(
        f"taking up the search in {tmp_path / 'run'} ({first.counts['tried']} formulas tried, "
    )
    search(table, tmp_path / "run", told, workers=1)
    assert told.pop(0).startswith(f"note: {tmp_path / 'run'} holds a longer search")
    assert told.pop().endswith(" s)") and len(lines(tmp_path / "run")) == n  # nothing is lost
    tried = search(table, tmp_path / "run", told, workers=1, formulas=["E + A*exp(-a*log(N))"])
    assert "held a search with other formulas to try" in told.pop()
    assert not told
    fresh = search(table, tmp_path / "fresh", told, workers=1, formulas=["E + A*exp(-a*log(N))"])
    # the law is the one that an empty folder gives
    assert tried.law.to_json() == fresh.law.to_json()
    assert len(lines(tmp_path / "run" / "earlier-1")) == n


def test_other_bounds_set_the_earlier_search_aside_and_are_named(tmp_path: Path) -> None:
    told: list[str] = []
    search(sizes(), tmp_path / "run", told, workers=1)
    search(sizes(monotone={"N": "decreasing"}), tmp_path / "run", told, workers=1)
    assert "held a search with other roles, bounds or directions of columns; that is kept in" in told.pop()
    assert not told


@pytest.mark.slow
def test_a_search_of_another_version_is_set_aside(tmp_path: Path) -> None:
    told: list[str] = []
    table = sizes()
    search(table, tmp_path / "run", told, workers=1)
    recorded = lines(tmp_path / "run")
    recorded[3]["key"] = "another"
    text = "".join(json.dumps(line) + "\n" for line in recorded)
    (tmp_path / "run" / EVENTS).write_text(text, encoding="utf-8")
    found = search(table, tmp_path / "run", told, workers=1)
    assert "holds a search of another version of sld (its formula 4 differs); that is kept in" in told.pop()
    assert not told
    assert (tmp_path / "run" / "earlier-1" / EVENTS).read_text(encoding="utf-8") == text
    fresh = search(table, tmp_path / "fresh", told, workers=1)
    assert found.law.to_json() == fresh.law.to_json()
