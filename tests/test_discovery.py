"""The search as a whole: finds planted laws, repeats itself bit for bit, survives kills, sees training rows only."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sld.core.card import Role, Target, Variable
from sld.core.equivalence import equivalent
from sld.core.errors import SldError, UsageError
from sld.core.law import LAW_FILE, Law
from sld.core.scoring import scores
from sld.core.table import Array, Table, table_from
from sld.search import discovery
from sld.search.candidate import Discovery
from sld.search.discovery import Budget, Progress, discover
from sld.search.run_folder import CONFIG, EVENTS, FRONT, LOCK

ROOT = Path(__file__).parents[1]
CATALOGUE = ("catalogue", "enumeration")


def chinchilla(n: Array, d: Array) -> Array:
    # Hoffmann et al. 2022, approach 3
    return 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28


def two_scales(noise: float = 0.0, n_n: int = 6, n_d: int = 5) -> Table:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, n_n), np.geomspace(1e9, 1e12, n_d)))
    loss = chinchilla(n, d) * (1 + noise * np.random.default_rng(0).normal(size=len(n)))
    return table_from({"N": n, "D": d, "loss": loss}, target="loss", scale=["N", "D"])


def one_scale(n_rows: int = 14) -> Table:
    x = np.geomspace(1, 1e4, n_rows)
    rng = np.random.default_rng(1)
    return table_from({"N": x, "y": 2 + 3 * x**-0.5 + 0.002 * rng.normal(size=n_rows)}, target="y", scale="N")


def grouped() -> Table:
    x = np.tile(np.geomspace(1, 1e4, 10), 3)
    g = np.repeat(["b", "a", "ü"], 10)
    level = {"b": 1.0, "a": 2.0, "ü": 3.0}
    y = [level[k] + (1 + level[k]) * v ** (-0.2 * level[k]) for k, v in zip(g, x, strict=True)]
    return table_from({"N": x, "loss": y, "family": g}, target="loss", scale="N", group="family")


def mixture(own: bool = True) -> Table:
    p = np.random.default_rng(0).dirichlet([2, 2, 2], 40)
    columns = {"a": p[:, 0], "b": p[:, 1], "c": p[:, 2]}
    y = {f"loss_{k}": 2 + i / 2 + (1 + i) * np.exp(-3 * v) for i, (k, v) in enumerate(columns.items())}
    targets = list(y) if own else ["loss_a", "loss_b"]
    return table_from({**columns, **y}, target=targets, proportion=list(columns))


def search(table: Table, budget: str = "300fits", **options: Any) -> Discovery:
    return discover(table, **{"budget": budget, "workers": 1, **options})


def events(folder: Path) -> list[dict[str, Any]]:
    """What a run recorded, less the clock."""
    lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "t"} for line in lines]


def law_bytes(folder: Path) -> bytes:
    return (folder / LAW_FILE).read_bytes()


# -- finding -----------------------------------------------------------------------------------------------------------


def test_a_planted_law_is_found_with_its_constants() -> None:
    found = search(two_scales(), "3000fits")
    law = found.chosen.expressions["loss"]
    assert equivalent(law, two_scales().parse("E + A*N**-a + B*D**-b"))
    assert sorted(found.law.constants["loss"]["all"].values()) == pytest.approx(
        [0.28, 0.34, 1.69, 406.4, 410.7], rel=0.01
    )
    assert found.chosen.admissible
    far = {"N": np.array([1e12]), "D": np.array([1e14])}
    assert found.law.predict(far)[0, 0] == pytest.approx(chinchilla(far["N"], far["D"])[0], rel=1e-3)


def test_groups_get_constants_of_their_own() -> None:
    table = grouped()
    found = search(table, "2000fits", proposers=CATALOGUE)
    assert found.law.groups == ("b", "a", "ü")
    assert scores(table.Y, found.law.predict(table), table.group_index).r2 > 0.999
    assert len({json.dumps(c, sort_keys=True) for c in found.law.constants["loss"].values()}) == 3


def test_each_target_has_a_formula_and_its_own_share() -> None:
    table = mixture()
    found = search(table, "4000fits", proposers=CATALOGUE)
    assert list(found.law.expressions) == ["loss_a", "loss_b", "loss_c"]
    assert scores(table.Y, found.law.predict(table), table.group_index).r2 > 0.99
    for share, expression in zip("abc", found.law.expressions.values(), strict=True):
        assert share in expression.used_variables


def test_targets_without_shares_of_their_own() -> None:
    found = search(mixture(own=False), "500fits")
    assert found.law.predict(mixture(own=False)).shape == (40, 2)
    assert len(found.chosen.target_scores) == 2


def test_targets_may_end_with_different_formulas() -> None:
    x = np.geomspace(1, 1e4, 16)
    data = {"N": x, "power": 2 + 3 * x**-0.5, "log": 5 - 0.3 * np.log(x)}
    table = table_from(data, target=["power", "log"], scale="N")
    formulas = [{"power": "E + A*N**-a", "log": "E + A/N"}, {"power": "E + A/N", "log": "E + A*log(N)"}]
    found = search(table, "5000fits", formulas=formulas, proposers=[])
    assert found.law.expressions["log"].text != found.law.expressions["power"].text
    assert found.chosen.origin.startswith("composed")
    assert scores(table.Y, found.law.predict(table), table.group_index).r2 > 0.999


def test_a_formula_of_ones_own_is_tried_first() -> None:
    found = search(one_scale(), "1fits", formulas=["E + A*N**-a"])
    assert found.counts["tried"] == 1
    assert found.chosen.origin == "user"
    assert found.law.expressions["y"].text == "E + A*N**-a"


def test_what_the_outcome_rests_on_is_handed_back() -> None:
    found = search(two_scales(0.01))
    assert found.chosen.key in [c.key for c in found.hall_of_fame]
    assert found.front
    assert len(found.chosen.fold_errors) == len(found.folds) > 1
    assert found.counts["tried"] >= found.counts["judged"] > 0
    assert found.n_fits >= 300
    assert found.noise is None
    assert not found.interrupted
    assert found.config["budget"] == "300fits"
    assert found.law.provenance["seed"] == 0


def test_a_search_that_tried_everything_says_so() -> None:
    found = search(one_scale(), "100000fits", proposers=["catalogue"])
    assert found.n_fits < 100000
    assert any("every formula" in note for note in found.notes)


# -- the same again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [two_scales(0.01), grouped(), mixture()], ids=["two scales", "groups", "targets"])
def test_one_and_two_workers_write_the_same_law(tmp_path: Path, table: Table) -> None:
    for name, workers in (("one", 1), ("two", 2), ("again", 1)):
        search(table, "800fits", workers=workers, out=tmp_path / name)
    assert law_bytes(tmp_path / "one") == law_bytes(tmp_path / "two") == law_bytes(tmp_path / "again")
    assert events(tmp_path / "one") == events(tmp_path / "two") == events(tmp_path / "again")
    assert (tmp_path / "one" / FRONT).read_bytes() == (tmp_path / "two" / FRONT).read_bytes()


def test_another_seed_is_another_search_of_the_same_formulas(tmp_path: Path) -> None:
    for seed in (0, 1):
        search(two_scales(0.01), out=tmp_path / str(seed), seed=seed)
    one, other = events(tmp_path / "0"), events(tmp_path / "1")
    n = min(len(one), len(other))
    assert [e["key"] for e in one[:n]] == [e["key"] for e in other[:n]]
    assert one[:n] != other[:n]


@pytest.mark.parametrize("proposers", [CATALOGUE, ("catalogue", "evolution")])
def test_taking_a_run_up_again_is_the_same_as_one_long_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proposers: Sequence[str]
) -> None:
    # evolution after one small batch, so that a short run breeds
    monkeypatch.setattr("sld.search.proposers._HEAD", 16)
    monkeypatch.setattr("sld.search.proposers._BATCH", 16)
    table = two_scales(0.01)
    search(table, "1200fits", out=tmp_path / "long", proposers=proposers)
    for budget in ("300fits", "700fits", "1200fits"):
        found = search(table, budget, out=tmp_path / "short", proposers=proposers)
    assert found.n_fits >= 1200
    assert law_bytes(tmp_path / "short") == law_bytes(tmp_path / "long")
    assert events(tmp_path / "short") == events(tmp_path / "long")
    if "evolution" in proposers:
        assert any(e["origin"] == "evolution" for e in events(tmp_path / "long"))


def test_a_smaller_budget_in_the_same_folder_gives_its_own_law(tmp_path: Path) -> None:
    table = two_scales(0.01)
    search(table, "300fits", out=tmp_path / "small")
    search(table, "1500fits", out=tmp_path / "large")
    recorded = events(tmp_path / "large")
    search(table, "300fits", out=tmp_path / "large")
    assert law_bytes(tmp_path / "large") == law_bytes(tmp_path / "small")
    # nothing that was worked out is thrown away
    assert events(tmp_path / "large") == recorded


def test_a_run_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    table = two_scales(0.01)
    first = search(table, out=tmp_path)
    recorded = (tmp_path / EVENTS).read_bytes()
    second = search(table, out=tmp_path)
    assert (tmp_path / EVENTS).read_bytes() == recorded
    assert second.n_fits == first.n_fits
    assert second.counts == first.counts
    assert [c.key for c in second.hall_of_fame] == [c.key for c in first.hall_of_fame]


def test_events_of_another_version_are_refused(tmp_path: Path) -> None:
    search(one_scale(), out=tmp_path, proposers=["catalogue"])
    lines = (tmp_path / EVENTS).read_text(encoding="utf-8").splitlines()
    (tmp_path / EVENTS).write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    with pytest.raises(SldError, match="another version of sld"):
        search(one_scale(), "900fits", out=tmp_path, proposers=["catalogue"])


def test_a_run_folder_holds_what_was_promised(tmp_path: Path) -> None:
    found = search(grouped(), out=tmp_path / "run", task={"name": "t", "version": 3})
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == sorted([CONFIG, EVENTS, FRONT, LAW_FILE])
    law = Law.load(tmp_path / "run")
    assert law.task == {"name": "t", "version": 3}
    assert np.array_equal(law.predict(grouped()), found.law.predict(grouped()))
    config = json.loads((tmp_path / "run" / CONFIG).read_text(encoding="utf-8"))
    assert config["seed"] == 0
    assert config["rows"] == grouped().digest()


@pytest.mark.parametrize("change", [{"seed": 1}, {"max_constants": 3}, {"formulas": ["A*N"]}, {"proposers": CATALOGUE}])
def test_a_folder_belongs_to_one_question(tmp_path: Path, change: dict[str, Any]) -> None:
    search(one_scale(), "1fits", out=tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=rf"different: {next(iter(change))}"):
        search(one_scale(), out=tmp_path, **change)
    with pytest.raises(UsageError, match="different: rows"):
        search(one_scale(15), out=tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# -- stopping ----------------------------------------------------------------------------------------------------------

SEARCHER = """
import sys
sys.path.insert(0, "tests")
from test_discovery import two_scales
from sld.search.discovery import discover
print("begun", flush=True)
found = discover(two_scales(0.01), budget="600s", workers=int(sys.argv[2]), out=sys.argv[1])
print("interrupted" if found.interrupted else "done", found.counts["tried"], flush=True)
"""


def start(folder: Path, workers: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SEARCHER, str(folder), str(workers)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        file = folder / EVENTS
        if file.exists() and file.read_bytes().count(b"\n") >= 10:
            return process
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"the search did not start: {process.communicate()[1]}")


def left_of(process: subprocess.Popen[str]) -> bool:
    """Whether any process of its group is left after a few seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    return True


# one worker takes a shorter way through the same loop
WORKERS = [pytest.param(1, marks=pytest.mark.slow), 2]
posix = pytest.mark.skipif(os.name != "posix", reason="signals")


@posix
@pytest.mark.parametrize("workers", WORKERS)
def test_a_killed_search_goes_on_as_if_nothing_had_happened(tmp_path: Path, workers: int) -> None:
    killed = tmp_path / "killed"
    process = start(killed, workers)
    process.kill()
    process.communicate()
    assert not left_of(process)
    assert not (killed / LAW_FILE).exists()
    recorded = (killed / EVENTS).read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    n_fits = sum(json.loads(line)["fits"] for line in recorded)
    budget = f"{n_fits + 200}fits"
    search(two_scales(0.01), budget, out=killed)
    search(two_scales(0.01), budget, out=tmp_path / "whole")
    whole = events(tmp_path / "whole")
    for line, event in zip(recorded, whole, strict=False):
        assert {k: v for k, v in json.loads(line).items() if k != "t"} == event
    assert events(killed) == whole
    assert law_bytes(killed) == law_bytes(tmp_path / "whole")


@posix
@pytest.mark.parametrize("workers", WORKERS)
def test_ctrl_c_keeps_the_best_law_so_far(tmp_path: Path, workers: int) -> None:
    process = start(tmp_path, workers)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert err == ""
    word, tried = out.split()[-2:]
    assert word == "interrupted"
    # what was worked out is all there, and the next run takes it up
    assert abs(len(events(tmp_path)) - int(tried)) <= 1
    assert np.isfinite(Law.load(tmp_path).predict(two_scales())).all()
    assert not (tmp_path / LOCK).exists()
    assert not left_of(process)
    found = search(two_scales(0.01), "1fits", out=tmp_path)
    assert not found.interrupted


def test_ctrl_c_before_anything_was_found_is_ctrl_c() -> None:
    def press(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(one_scale(), progress=press, proposers=["evolution"])


def test_ctrl_c_in_the_progress_bar_keeps_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_PROGRESS_EVERY_S", 0.0)
    pressed: list[Progress] = []

    def press(state: Progress) -> None:
        if state.tried == 30 and not pressed:
            pressed.append(state)
            raise KeyboardInterrupt

    found = search(two_scales(0.01), "100000fits", progress=press)
    assert found.interrupted
    assert found.counts["tried"] == 30
    assert np.isfinite(found.law.predict(two_scales())).all()


def test_ctrl_c_while_writing_events_leaves_a_run_that_can_be_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sld.search.run_folder import RunFolder

    record = RunFolder.record

    def interrupted(self: RunFolder, rows: Sequence[Mapping[str, Any]]) -> None:
        record(self, rows)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "record", interrupted)
    assert search(two_scales(0.01), "100000fits", out=tmp_path).interrupted
    search(two_scales(0.01), "900fits", out=tmp_path)
    assert [e["i"] for e in events(tmp_path)] == list(range(len(events(tmp_path))))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_budget_in_seconds_is_kept(workers: int) -> None:
    search(two_scales(0.01), "1fits")  # compiled
    began = time.monotonic()
    found = search(two_scales(0.01), "1s", workers=workers)
    assert 0.9 < time.monotonic() - began < 6  # 2 s on an idle machine
    assert found.counts["tried"] > 3


def test_progress_is_told_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_PROGRESS_EVERY_S", 0.0)
    told: list[Progress] = []
    found = search(two_scales(0.01), progress=told.append)
    assert [p.tried for p in told] == sorted(p.tried for p in told)
    assert [p.fraction for p in told] == sorted(p.fraction for p in told)
    assert all(0 <= p.fraction <= 1 for p in told)
    assert told[-1].fraction == 1
    assert told[-1].tried == found.counts["tried"]
    assert told[-1].n_fits == found.n_fits
    best = [p.best.score for p in told if p.best is not None and p.best.admissible]
    assert best == sorted(best, reverse=True)


# -- training rows only ------------------------------------------------------------------------------------------------

CARD = """
name = "poisoned"
files = {train = "train.csv", held_out = "held_out.csv"}
[[variable]]
column = "N"
role = "scale"
extrapolate = true
[[target]]
column = "y"
"""

WATCHED = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from sld.core.task import load_task
from sld.search.discovery import discover
task = load_task(sys.argv[1])
found = discover(task.train, budget="300fits", workers=int(sys.argv[2]), out=sys.argv[3])
assert any(name.endswith("train.csv") for name in opened)
assert not any(name.endswith("held_out.csv") for name in opened)
print(found.law.text())
"""


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A task whose held-out rows would fail loudly, if anybody read them."""
    table = one_scale()
    rows = "\n".join(f"{n!r},{y!r}" for n, y in zip(table.X[:, 0].tolist(), table.Y[:, 0].tolist(), strict=True))
    (tmp_path / "task.toml").write_text(CARD, encoding="utf-8")
    (tmp_path / "train.csv").write_text(f"N,y\n{rows}\n", encoding="utf-8")
    (tmp_path / "held_out.csv").mkdir()
    return tmp_path


def test_held_out_rows_never_reach_discovery(poisoned: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(poisoned), "2", str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_search_is_given_a_table_that_does_not_know_its_task(poisoned: Path) -> None:
    from sld.core.task import Task, load_task

    train = load_task(poisoned).train
    values = [getattr(train, name) for name in train.__dataclass_fields__]
    assert not any(isinstance(v, Task | Path) or "held_out" in repr(v) for v in values)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "30", "s", "0s", "-3s", "nans", "1e3s", "2.5fits", "0.2fits", "9" * 400 + "fits", "1d"]
)
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"e\.g\. 60s, 5min or 20000fits; got"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("60s", Budget(seconds=60)),
        ("1.5min", Budget(seconds=90)),
        (" 2 h ", Budget(seconds=7200)),
        ("0.5s", Budget(seconds=0.5)),
        ("20000fits", Budget(fits=20000)),
        ("1fit", Budget(fits=1)),
    ],
)
def test_budgets_are_times_or_fits(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"budget": "soon"}, "budget is a time"),
        ({"proposers": ["evolutoin"]}, "no proposer 'evolutoin'; did you mean 'evolution'"),
        ({"proposers": []}, "nothing to try"),
        ({"formulas": ["E + A*N**"]}, "at column"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        search(one_scale(), out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def table_of(x: Sequence[float], y: Sequence[float], role: Role = "scale") -> Table:
    X, Y = np.array(x, dtype=float)[:, None], np.array(y, dtype=float)[:, None]
    return Table((Variable("N", role=role),), (Target("y"),), X, Y)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (table_of([1, 2], [3, 4]), "at least 3 rows, got 2"),
        (table_of([5, 5, 5, 5], [1, 2, 3, 4]), "needs three rungs of some variable or two of two"),
        (table_of([1, 1, 2, 2], [1, 2, 3, 4]), "N has 2 and no other variable more; add runs"),
        (table_of([1, 2, 3, 4], [7, 7, 7, 7]), "target 'y' is 7 in every row"),
    ],
    ids=["two rows", "one rung", "two rungs", "constant target"],
)
def test_a_table_that_cannot_be_searched_is_refused_and_nothing_is_written(
    tmp_path: Path, table: Table, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        search(table, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_group_with_too_few_rows_is_named() -> None:
    table = grouped().take(np.r_[0:10, 10:12, 20:30])
    with pytest.raises(UsageError, match="at least 3 rows in group 'a', got 2"):
        search(table)


@pytest.mark.parametrize("n_rows", [3, 4, 5])
def test_few_rows_get_a_formula_with_fewer_constants(n_rows: int) -> None:
    x = np.geomspace(1, 1000, n_rows)
    found = search(table_of(x.tolist(), (2 + x**-0.5).tolist()), "500fits")
    assert found.chosen.n_constants < n_rows
    assert any("as many constants as rows" in reason for reason in found.counts)


def test_formulas_that_cannot_be_fitted_are_one_sentence_with_the_counts() -> None:
    with pytest.raises(SldError, match=r"no formula could be fitted: 2 tried \(.*not finite") as caught:
        search(one_scale(), formulas=["A*log(-N)", "E + A*sqrt(-N)"], proposers=[])
    assert "\n" not in str(caught.value)


def test_variables_may_have_any_name() -> None:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 5)))
    data = {"E": n, "größe (10⁹)": d, "A": chinchilla(n, d)}
    found = search(table_from(data, target="A", scale=["E", "größe (10⁹)"]), "3000fits", proposers=CATALOGUE)
    assert found.law.predict({"E": [1e11], "größe (10⁹)": [1e13]})[0, 0] == pytest.approx(
        chinchilla(np.array([1e11]), np.array([1e13]))[0], rel=1e-2
    )


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_unit_of_the_target_does_not_matter(unit: float) -> None:
    x = np.geomspace(1, 1e4, 14)
    found = search(table_of(x.tolist(), (unit * (2 + 3 * x**-0.5)).tolist()), "600fits", proposers=CATALOGUE)
    assert found.chosen.train_nmse < 1e-6
    assert found.law.predict({"N": [1e6]})[0, 0] / unit == pytest.approx(2.003, rel=1e-3)


def test_negative_and_zero_targets_are_no_trouble() -> None:
    x = np.geomspace(1, 1e4, 14)
    found = search(table_of(x.tolist(), (3 * x**-0.5 - 1).tolist()), "600fits", proposers=CATALOGUE)
    assert found.law.predict({"N": [1e6]})[0, 0] == pytest.approx(-0.997, abs=0.01)


@pytest.mark.parametrize("role", ["covariate", "hyperparameter"])
def test_a_table_without_scales(role: Role) -> None:
    x = np.geomspace(0.1, 10, 15)
    found = search(table_of(x.tolist(), (1 + np.log(x) ** 2).tolist(), role), "2000fits", proposers=CATALOGUE)
    assert found.chosen.train_nmse < 0.05


def test_a_covariate_of_zeros_and_ones() -> None:
    x = np.tile(np.geomspace(1, 1e4, 8), 2)
    flag = np.repeat([0.0, 1.0], 8)
    table = table_from({"N": x, "flag": flag, "y": 2 + 3 * x**-0.5 + flag}, target="y", scale="N", covariate="flag")
    assert search(table, "2500fits", proposers=["enumeration"]).chosen.train_nmse < 1e-3


def test_a_large_table_is_thinned_and_the_user_is_told() -> None:
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(0, 4, 20_000)
    g = rng.integers(0, 3, len(x))
    y = g + 2 + 3 * x**-0.5 + 0.01 * rng.normal(size=len(x))
    table = table_from({"N": x, "y": y, "g": [f"g{k}" for k in g]}, target="y", scale="N", group="g")
    found = search(table, "1fits", formulas=["E + A*N**-a"])
    (note,) = [note for note in found.notes if "rows" in note]
    assert "of 20000 rows" in note
    assert found.law.groups == table.groups
    # the constants come from all rows: a hundred times closer than the noise of one
    for group, constants in found.law.constants["y"].items():
        assert constants["E"] == pytest.approx(int(group[1]) + 2, abs=1e-3)


def test_thinning_keeps_every_group_and_both_ends() -> None:
    rng = np.random.default_rng(0)
    x = 10 ** rng.uniform(0, 4, 5000)
    index = np.where(np.arange(5000) < 4990, 0, 1)
    table = Table((Variable("N"),), (Target("y"),), x[:, None], x[:, None], ("many", "few"), index)
    thin = discovery._thinned(table, 300)
    assert 300 <= thin.n_rows <= 320
    assert thin.groups == ("many", "few")
    for group in thin.groups:
        assert thin.of_group(group).X.min() == table.of_group(group).X.min()
        assert thin.of_group(group).X.max() == table.of_group(group).X.max()
    assert (thin.group_index == 1).sum() >= 6
    assert discovery._thinned(table, 5000) is table


def test_repeats_give_the_noise_floor() -> None:
    x = np.repeat(np.geomspace(1, 1e4, 8), 3)
    y = 2 + 3 * x**-0.5 + 0.01 * np.random.default_rng(0).normal(size=len(x))
    found = search(table_of(x.tolist(), y.tolist()))
    assert found.noise is not None
    assert found.noise["relative_sd"] == pytest.approx(0.01 / np.mean(y), rel=0.5)


def test_nothing_in_an_outcome_is_infinite_or_lost(tmp_path: Path) -> None:
    found = search(two_scales(0.01), out=tmp_path)
    for candidate in (*found.hall_of_fame, *found.front):
        assert candidate.status == "ok"
        assert math.isfinite(candidate.score)
    text = (tmp_path / LAW_FILE).read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
