"""The commands: what they print, what they write, and one clear line for everything that can go wrong."""

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Outcome, Run, runner

from sld import api
from sld.cli import output as cli_output
from sld.cli.show import laws as show_laws
from sld.data import task as core_task
from sld.data.task import load_task, tasks_root
from sld.laws.catalogue import load_catalogue
from sld.laws.law import Law

REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = ("--target", "loss", "--scale", "N,D")
QUICK = ("--budget", "300fits", "--workers", "1")
SCORE_KEYS = {"r2", "r2_within", "nmse", "nmae", "are", "n_rows"}


@pytest.fixture
def sld(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in an empty folder."""
    return runner(capsys, monkeypatch, tmp_path)


def surroundings() -> dict[str, str]:
    """Return an environment in which a child process finds this package."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"PYTHONPATH": os.pathsep.join(paths)}


def child(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own."""
    env = {**surroundings(), **environment}
    command = [sys.executable, "-m", "sld", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=cwd, env=env, timeout=120)


def loss(n: float, d: float) -> float:
    return float(1.7 + 400 / n**0.34 + 900 / d**0.3)


def write_runs(path: Path, extra: str = "", *, group: bool = False) -> Path:
    """Write a table of runs on a grid of sizes and tokens, with two families when grouped."""
    lines = ["N,D,loss" + (",family" if group else "")]
    for k, family in enumerate(("small", "groß") if group else ("",)):
        for n in (1e6, 3e6, 1e7, 3e7, 1e8):
            for d in (1e8, 3e8, 1e9, 3e9, 1e10):
                lines.append(f"{n:.0f},{d:.0f},{loss(n, d) + k:.6f}" + (f",{family}" if group else ""))
    path.write_text("\n".join(lines) + "\n" + extra, encoding="utf-8")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return write_runs(tmp_path / "runs.csv")


@pytest.fixture(scope="module")
def fitted_law(tmp_path_factory: pytest.TempPathFactory) -> Law:
    runs = write_runs(tmp_path_factory.mktemp("fitted") / "runs.csv")
    return api.fit(runs, "E + A*N**-a + B*D**-b", target="loss", scale=["N", "D"])


@pytest.fixture
def law_file(tmp_path: Path, runs: Path, fitted_law: Law) -> Path:
    path = tmp_path / "law.json"
    fitted_law.save(path)
    return path


def one_line(outcome: Outcome, *parts: str, code: int = 2) -> None:
    """Check that a command failed as promised: exit code, one line on stderr, nothing on stdout."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("sld: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err


# -- help and lists --------------------------------------------------------------------------------------------------

COMMANDS = [
    (),
    ("tasks",),
    ("tasks", "show"),
    ("tasks", "check"),
    ("discover",),
    ("fit",),
    ("predict",),
    ("score",),
    ("laws",),
    ("laws", "show"),
    ("submit",),
    ("leaderboard",),
    ("leaderboard", "verify"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_examples_and_json(sld: Run, command: tuple[str, ...]) -> None:
    shown = sld(*command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"  sld {' '.join(command)}".rstrip() in shown.out.partition("Examples:")[2]
    assert "--json" in shown.out or not command
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", shown.out)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_a_narrow_terminal(sld: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = sld(*command, "--help").out.partition("Examples:")[0]  # examples are for pasting and stay whole
    assert max(map(len, text.splitlines())) <= 40


def test_no_command_shows_the_help(sld: Run) -> None:
    assert sld().out == sld("--help").out


def test_version(sld: Run) -> None:
    assert re.fullmatch(r"sld \d+\.\d+\.\d+\n", sld("--version").out)


def test_tasks_lists_the_bundled_ones_with_their_numbers_of_rows(sld: Run) -> None:
    listed = sld("tasks", "--json").document["tasks"]
    assert [t["name"] for t in listed] == list(core_task.bundled_tasks())
    for entry in listed:
        task = load_task(entry["name"])
        held_out = task.held_out()
        assert held_out is not None
        assert (entry["n_rows"], entry["n_held_out_rows"]) == (task.train.n_rows, held_out.n_rows)
    text = sld("tasks").out
    assert all(t["name"] in text and t["title"] in text for t in listed)


@pytest.mark.parametrize("name", core_task.bundled_tasks())
def test_tasks_show_tells_columns_laws_and_licence(sld: Run, name: str) -> None:
    card = sld("tasks", "show", name, "--json").document["card"]
    text = sld("tasks", "show", name).out
    for part in (*(v["column"] for v in card["variable"]), *(law["name"] for law in card["law"]), card["licence"]):
        assert part in text


def test_json_may_stand_after_the_group(sld: Run) -> None:
    assert sld("tasks", "--json", "show", "nanolm_moe").out == sld("tasks", "show", "nanolm_moe", "--json").out


def test_laws_lists_the_catalogue(sld: Run) -> None:
    listed = sld("laws", "--json").document["laws"]
    assert len(listed) > 100
    text = sld("laws").out
    assert all(law["id"] in text and law["formula"] in text for law in listed)


def test_every_law_of_the_catalogue_can_be_shown(sld: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for law in load_catalogue():
        show_laws.law(law, json=False)
        assert law.formula in capsys.readouterr().out
    shown = sld("laws", "show", "chinchilla", "--json").document
    assert shown["paper"]["arxiv"] == "2203.15556"


def test_tasks_check_names_each_problem(sld: Run, tmp_path: Path) -> None:
    assert sld("tasks", "check", "nanolm_moe").code == 0
    write_task(tmp_path / "mine", 'role = "scale"')
    checked = sld("tasks", "check", "mine", "--json")
    assert checked.code == 1
    assert any("held-out" in problem for problem in checked.document["problems"])
    assert not checked.document["ok"]


def write_task(folder: Path, variable: str, *, name: str = "mine") -> Path:
    folder.mkdir()
    write_runs(folder / "train.csv")
    card = f'name = "{name}"\n[[variable]]\ncolumn = "N"\n{variable}\n[[target]]\ncolumn = "loss"\n'
    (folder / "task.toml").write_text(card, encoding="utf-8")
    return folder


# -- the main job ----------------------------------------------------------------------------------------------------


def test_discover_writes_a_run_folder_and_says_what_it_found(sld: Run, runs: Path, tmp_path: Path) -> None:
    found = sld("discover", runs, *COLUMNS, *QUICK)
    assert found.code == 0, found.err
    folder = tmp_path / "sld-runs" / "runs-0"
    names = {"config.json", "events.jsonl", "front.csv", "law.json", "report.md", "plot.png"}
    assert names <= {file.name for file in folder.iterdir()}
    law = Law.load(folder)
    assert f"loss = {law.expressions['loss'].text}" in found.out
    assert "sld predict sld-runs/runs-0 points.csv" in found.out
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", found.out + found.err)


def test_discover_json_is_one_document(sld: Run, runs: Path) -> None:
    found = sld("discover", runs, *COLUMNS, *QUICK, "--out", "here", "--json")
    document = found.document
    assert document["law"] == json.loads(Path("here/law.json").read_text(encoding="utf-8"))
    assert len(document["folds"]) >= 3
    assert document["held_out"] is None  # a bare table has none
    assert "searching" in found.err


def test_discover_takes_groups_formulas_and_proposers(sld: Run, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs.csv", group=True)
    mine = "E + A*N**-a + B*D**-b"
    options = ("--group", "family", "--try", mine, "--proposers", "catalogue", "--out", "here", "--json")
    document = sld("discover", runs, *COLUMNS, *QUICK, *options).document
    assert set(document["law"]["constants"]) == {"small", "groß"}
    assert json.loads(Path("here/events.jsonl").read_text(encoding="utf-8").splitlines()[0])["origin"] == "user"
    assert document["config"]["proposers"] == ["catalogue"]


def test_the_same_command_goes_on_where_it_stopped(sld: Run, runs: Path) -> None:
    command = ("discover", runs, *COLUMNS, "--workers", "1", "--out", "here", "--json")
    first = sld(*command, "--budget", "200fits").document
    second = sld(*command, "--budget", "600fits").document
    whole = sld("discover", runs, *COLUMNS, "--workers", "1", "--out", "new", "--json", "--budget", "600fits").document
    assert first["counts"]["tried"] < second["counts"]["tried"] == whole["counts"]["tried"]
    assert second["law"] == whole["law"]


def test_an_earlier_search_with_another_option_is_kept_and_one_that_goes_on_says_so(sld: Run, runs: Path) -> None:
    sld("discover", runs, *COLUMNS, *QUICK, "--out", "here")
    before = Path("here/law.json").read_bytes()
    said = sld("discover", runs, *COLUMNS, *QUICK, "--seed", "1", "--out", "here").err
    assert "here held a search with other seed; that is kept in here/earlier-1, and a new search begins" in said
    assert Path("here/earlier-1/law.json").read_bytes() == before
    assert (
        "taking up the search in here (" in sld("discover", runs, *COLUMNS, *QUICK, "--seed", "1", "--out", "here").err
    )


def test_fit_finds_the_constants_of_a_known_law(sld: Run, runs: Path) -> None:
    fitted = sld("fit", runs, *COLUMNS, "--law", "E + A*N**-a + B*D**-b", "--json").document
    constants = fitted["law"]["constants"]["all"]
    for name, value in {"E": 1.7, "A": 400, "a": 0.34, "B": 900, "b": 0.3}.items():
        assert constants[name] == pytest.approx(value, rel=0.01)
    assert fitted["fit"]["loss"]["n_at_best"] > 0


@pytest.mark.parametrize("law", ["Chinchilla", "chinchilla", "E + A*N**-a + B*D**-b", "loss: E + A*N**-a + B*D**-b"])
def test_fit_takes_a_law_of_the_card_of_the_catalogue_or_a_formula(sld: Run, law: str) -> None:
    fitted = sld("fit", "nanolm_chinchilla", "--law", law, "--json").document
    # repeats of nanolm_chinchilla are the more exact the more tokens, and weigh so; all alike give 0.93147
    assert fitted["held_out"]["r2"] == pytest.approx(0.95446, abs=1e-4)
    assert "the noise of loss changes with D" in fitted["law"]["provenance"]["notes"][0]


def test_fit_options_reach_the_fit(sld: Run, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs.csv", group=True)
    law = "E + A*N**-a + B*D**-b"
    options = ("--shared", "a,b", "--bounds", "E=1:5", "--bounds", "a=0.1:0.9", "--positive", "A", "--loss", "huber")
    fitted = sld("fit", runs, *COLUMNS, "--group", "family", "--law", law, *options, "--json").document["law"]
    small, large = fitted["constants"]["small"], fitted["constants"]["groß"]
    assert small["a"] == large["a"]
    assert large["E"] - small["E"] == pytest.approx(1, abs=0.01)
    assert [s["loss"] for s in fitted["settings"].values()] == ["huber"]


def test_predict_keeps_the_columns_and_adds_the_target(sld: Run, law_file: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("run,N,D\nnächster,1e9,1e11\n\nb,2e9,1e11\n", encoding="utf-8")
    predicted = sld("predict", law_file, "points.csv")
    rows = list(csv.DictReader(io.StringIO(predicted.out)))
    assert [row["run"] for row in rows] == ["nächster", "b"]
    assert [row["N"] for row in rows] == ["1e9", "2e9"]
    assert float(rows[0]["loss"]) == pytest.approx(loss(1e9, 1e11), rel=1e-3)
    assert sld("predict", law_file, "points.csv", "--out", "p.csv").out == ""
    assert Path("p.csv").read_text(encoding="utf-8") == predicted.out
    document = sld("predict", law_file, "points.csv", "--json").document
    assert document["predictions"]["loss"] == [float(row["loss"]) for row in rows]


def test_predict_says_where_the_law_gives_no_number(sld: Run, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("N,loss\n" + "".join(f"{n},{2 - n / 100}\n" for n in range(1, 20)), "utf-8")
    sld("fit", "runs.csv", "--target", "loss", "--scale", "N", "--law", "sqrt(a - b*N)", "--out", "law.json")
    (tmp_path / "points.csv").write_text("N\n5\n100000\n", encoding="utf-8")
    predicted = sld("predict", "law.json", "points.csv")
    assert "no finite prediction for 1 of 2 points" in predicted.err
    assert predicted.out.splitlines()[2].startswith("100000,nan")
    assert sld("predict", "law.json", "points.csv", "--json").document["predictions"]["loss"][1] is None


def test_predict_adds_intervals_that_hold_the_prediction(sld: Run, runs: Path) -> None:
    sld("discover", runs, *COLUMNS, *QUICK, "--out", "here")
    header, *rows = csv.reader(io.StringIO(sld("predict", "here", runs).out))
    assert header == ["N", "D", "loss", "loss_predicted", "loss_low", "loss_high"]
    for row in rows:
        assert float(row[4]) <= float(row[3]) <= float(row[5])


def test_predict_reads_parquet(sld: Run, law_file: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"N": [1e9], "D": [1e11], "run": ["ä"]}).to_parquet(tmp_path / "points.parquet")
    (row,) = csv.DictReader(io.StringIO(sld("predict", law_file, "points.parquet").out))
    assert row["run"] == "ä"
    assert float(row["loss"]) == pytest.approx(loss(1e9, 1e11), rel=1e-3)


def test_score_has_the_promised_keys(sld: Run, law_file: Path, runs: Path) -> None:
    scored = sld("score", law_file, "nanolm_chinchilla", "--json")
    assert SCORE_KEYS <= set(scored.document)
    assert scored.document["n_rows"] == 28
    assert sld("score", law_file, runs, "--json").document["r2"] > 0.999
    assert "R² pooled" in sld("score", law_file, runs).out


def test_utf8_names_work_in_any_locale(tmp_path: Path) -> None:
    folder = tmp_path / "größe ☃"
    folder.mkdir()
    text = write_runs(tmp_path / "runs.csv", group=True).read_text(encoding="utf-8")
    (folder / "läufe.csv").write_text(text.replace("N,D,loss,", "Größe,Daten,verlust,"), encoding="utf-8")
    arguments = ("fit", "läufe.csv", "--target", "verlust", "--scale", "Größe,Daten", "--group", "family")
    # Python reads arguments as UTF-8 in the C locale, and writes ASCII if it is told to
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    run = child(*arguments, "--law", "E + A*Größe**-α", "--out", "ärgebnis", cwd=folder, **environment)
    assert run.returncode == 0, run.stderr
    assert "verlust = E + A*Größe**-α" in run.stdout
    assert "groß" in run.stdout
    assert (folder / "ärgebnis" / "law.json").is_file()


def test_the_python_surface_does_the_same_in_five_lines() -> None:
    import pandas as pd

    import sld

    frame = pd.read_csv(tasks_root() / "nanolm_chinchilla" / "train.csv")
    run = sld.discover(frame, target="loss", scale=["N", "D"], budget="200fits", workers=1)
    assert run.law.text()
    assert sld.score(run.law, sld.load_task("nanolm_chinchilla")).n_rows == 28
    assert set(sld.__all__) <= set(dir(sld))
    assert all(getattr(sld, name) is not None for name in sld.__all__)


def test_the_default_budget_in_the_help_is_the_search_s() -> None:
    from sld.cli.commands.discover import DEFAULT_BUDGET
    from sld.search import budget

    assert DEFAULT_BUDGET == budget.DEFAULT_BUDGET


# -- bad input: one line, exit code 2 --------------------------------------------------------------------------------

BAD_TABLES = {
    "empty": ("", ["bad.csv is empty"]),
    "header only": ("N,D,loss\n", ["bad.csv has a header but no rows"]),
    "text in a number": ("N,D,loss\n1,2,3\n1,two,3\n", ["line 3", "'D'", "'two'"]),
    "not a number": ("N,D,loss\n1,2,3\n1,nan,3\n", ["line 3", "'D'", "missing = drop"]),
    "infinite": ("N,D,loss\n1,2,3\n1,4,inf\n", ["line 3", "'loss'", "infinite"]),
    "constant": ("N,D,loss\n1,2,3\n2,2,4\n3,2,5\n", ["'D' is constant"]),
    "negative scale": ("N,D,loss\n1,2,3\n-1,3,3\n", ["line 3", "'N'", "positive", "-1", "(log)"]),
    "unknown column": ("N,Data,loss\n1,2,3\n", ["no column 'D'", "Data"]),
    "uneven": ("N,D,loss\n1,2,3\n1,2\n", ["line 3", "2 cells"]),
    "two rows": ("N,D,loss\n1,2,3\n2,3,4\n", ["at least 3 distinct points, got 2", "got 2"]),
    "not UTF-8": ("N,D,loss\n1,2,3\n\udcff,2,3\n", ["not UTF-8"]),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_and_nothing_is_written(sld: Run, tmp_path: Path, case: str) -> None:
    text, parts = BAD_TABLES[case]
    (tmp_path / "bad.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    one_line(sld("discover", "bad.csv", *COLUMNS, *QUICK), *parts)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.csv"]


def test_one_rung_only_says_what_to_add(sld: Run, tmp_path: Path) -> None:
    rows = "".join(f"{n},{3 + n}\n" for n in (1, 1, 1, 1, 2))
    (tmp_path / "bad.csv").write_text(f"N,loss\n{rows}", encoding="utf-8")
    one_line(sld("discover", "bad.csv", "--target", "loss", "--scale", "N", *QUICK), "add")


def test_fewer_rows_than_constants(sld: Run, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("N,D,loss\n1,2,3\n2,3,4\n3,5,5\n", encoding="utf-8")
    one_line(sld("fit", "few.csv", *COLUMNS, "--law", "E + A*N**-a + B*D**-b"), "5 constants", "got 3")


def test_rows_with_gaps_can_be_left_out(sld: Run, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs.csv", extra="1e6,,2\n")
    fitted = sld("fit", runs, *COLUMNS, "--missing", "drop", "--law", "E + A*N**-a + B*D**-b", "--json")
    assert fitted.document["law"]["provenance"]["n_rows"] == 25


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["discover", "runz.csv", *COLUMNS], ["'runz.csv'", "did you mean 'runs.csv'"]),
        (["discover", "nanolm_chinchila"], ["no task", "did you mean 'nanolm_chinchilla'", "sld tasks"]),
        (["discover", "nowhere/task"], ["nowhere/task"]),
        (["discover", "runs.csv"], ["target", "N, D, loss"]),
        (["discover", "runs.csv", "--target", "loss"], ["variable", "N, D, loss"]),
        (["discover", "runs.csv", "--target", "los", "--scale", "N,D"], ["'los'", "did you mean 'loss'"]),
        (["discover", "runs.csv", "--target", "loss", "--scale", "N,N"], ["'N'", "twice"]),
        (["discover", "runs.csv", *COLUMNS, "--group", "famly"], ["'famly'"]),
        (["discover", "runs.csv", *COLUMNS, "--budget", "soon"], ["budget", "60s", "'soon'"]),
        (["discover", "runs.csv", *COLUMNS, "--workers", "0"], ["workers", "got 0"]),
        (["discover", "runs.csv", *COLUMNS, "--seed", "x"], ["--seed", "integer"]),
        (["discover", "runs.csv", *COLUMNS, "--proposers", "catalog"], ["did you mean 'catalogue'"]),
        (["discover", "runs.csv", *COLUMNS, "--try", "E + sinh(N)"], ["'sinh'", "column 5"]),
        (["discover", "runs.csv", *COLUMNS, "--better", "more"], ["--better", "'more'"]),
        (["discover", "runs.csv", *COLUMNS, "--missing", "guess"], ["missing", "'guess'"]),
        (["discover", "runs.csv", *COLUMNS, "--monotone", "N"], ["NAME=VALUE", "'N'"]),
        (["discover", "runs.csv", *COLUMNS, "--monotone", "N=down"], ["decreasing", "'down'"]),
        (["discover", "runs.csv", *COLUMNS, "--log", "N=log3"], ["log10", "'log3'"]),
        (["discover", "runs.csv", *COLUMNS, "--lower", "5", "--upper", "2"], ["below"]),
        (["discover", "nanolm_moe", "--target", "loss"], ["target", "card"]),
        (["discover", "nanolm_moe", "--out", "runs.csv"], ["runs.csv"]),
        (["fit", "nanolm_moe", "--law", "chinchila"], ["no law 'chinchila'", "did you mean 'chinchilla'"]),
        (["fit", "nanolm_moe", "--law", "D-CPT lw"], ["no law 'D-CPT lw'"]),
        (["fit", "nanolm_shape", "--law", "chinchilla"], ["'chinchilla' needs", "nanolm_shape has"]),
        (["fit", "nanolm_moe", "--law", "E + A*N**-a", "--shared", "b"], ["no constant 'b'"]),
        (["fit", "nanolm_moe", "--law", "E + A*N**-a", "--bounds", "a=x"], ["--bounds", "a=0:1", "a=x"]),
        (["fit", "nanolm_moe", "--law", "E + A*N**-a", "--bounds", "a=2:1"], ["'a'", "2:1"]),
        (["fit", "nanolm_moe", "--law", "E + A*N**-a", "--loss", "hubr"], ["no loss 'hubr'", "huber"]),
        (["fit", "nanolm_moe", "--law", "E + A*N**-a", "--starts", "0"], ["starts"]),
        (["fit", "nanolm_moe", "--law", "los: E + A*N**-a"], ["no target 'los'", "loss"]),
        (["fit", "nanolm_moe", "--law", ""], ["empty"]),
        (["fit", "nanolm_moe", "--law", "E + (N"], ["column 7"]),
        (["fit", "nanolm_moe", "--law", "__import__('os')"], ["column"]),
        (["fit", "nanolm_moe", "--law", "E + 9**9**9"], ["9**9**9"]),
        (["fit", "nanolm_moe", "--law", "E + " + "N*" * 5000 + "N"], ["10005 characters"]),
        (["fit", "nanolm_moe", "--law", "E + ?"], ["'?'", "column 5"]),
        (["fit", "nanolm_moe"], ["--law", "sld fit --help"]),
        (["laws", "show", "kaplan_nn"], ["no law", "did you mean 'kaplan_n"]),
        (["tasks", "show", "moe"], ["no task 'moe'", "nanolm_moe"]),
        (["tasks", "check", "nowhere"], ["no task 'nowhere'"]),
        (["predict", "nowhere.json", "runs.csv"], ["nowhere.json"]),
        (["predict", "runs.csv", "runs.csv"], ["runs.csv", "not a law"]),
        (["predict", "law.json", "nowhere.csv"], ["nowhere.csv"]),
        (["predict", "law.json", "wrong.csv"], ["no column 'N'"]),
        (["predict", "law.json", "runs.csv", "--out", "no/where.csv"], ["no/where.csv"]),
        (["score", "law.json", "nanolm_shape"], ["no column 'D'"]),
        (["score", "law.json", "nowhere"], ["no task 'nowhere'"]),
        (["score", "nowhere", "nanolm_moe"], ["nowhere"]),
        (["discovr"], ["did you mean 'discover'"]),
        (["discover"], ["TASK", "sld discover --help"]),
        (["discover", "nanolm_moe", "--seeds", "1"], ["--seeds"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_misuse_is_one_line_with_a_way_out(
    sld: Run, law_file: Path, tmp_path: Path, arguments: list[str], parts: list[str]
) -> None:
    (tmp_path / "wrong.csv").write_text("n,D\n1,2\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    outcome = sld(*arguments)
    outcome.err = outcome.err.replace("Did you", "did you")
    one_line(outcome, *parts)
    assert sorted(tmp_path.rglob("*")) == before


def test_unknown_group_of_a_point_is_suggested(sld: Run, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs.csv", group=True)
    sld("fit", runs, *COLUMNS, "--group", "family", "--law", "E + A*N**-a", "--out", "law.json")
    (tmp_path / "points.csv").write_text("N,D,family\n1,2,smal\n", encoding="utf-8")
    one_line(sld("predict", "law.json", "points.csv"), "no group 'smal'", "did you mean 'small'")


@pytest.mark.parametrize(
    ("variable", "parts"),
    [
        ('rôle = "scale"', ["task.toml"]),
        ('rol = "scale"', ["'rol'", "did you mean 'role'"]),
        ('role = "scales"', ["'scales'", "scale"]),
        ("role = 3", ["'role'"]),
        ('extrapolate = "yes"', ["'extrapolate'"]),
    ],
)
def test_a_card_with_a_wrong_key_or_type_is_refused(sld: Run, tmp_path: Path, variable: str, parts: list[str]) -> None:
    write_task(tmp_path / "mine", variable)
    one_line(sld("discover", "mine"), *parts)


def test_score_needs_held_out_rows(sld: Run, tmp_path: Path, law_file: Path) -> None:
    write_task(tmp_path / "mine", 'role = "scale"')
    one_line(sld("score", law_file, "mine"), "'mine' has no held-out rows")


def test_a_run_folder_in_use_is_refused(sld: Run, runs: Path) -> None:
    from sld.search.run_folder import RunFolder

    with RunFolder("here", {}):
        one_line(sld("discover", runs, *COLUMNS, *QUICK, "--out", "here"), "in use")


# -- the world outside -----------------------------------------------------------------------------------------------


def test_disk_full_is_one_line_and_leaves_no_half_file(
    sld: Run, law_file: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sld.core.files.os.fsync", full)
    before = sorted(tmp_path.iterdir())
    one_line(sld("predict", law_file, runs, "--out", "p.csv"), "could not write p.csv", "No space left")
    assert sorted(tmp_path.iterdir()) == before
    refused = sld("discover", runs, *COLUMNS, *QUICK, "--out", "here")
    assert refused.code == 2
    assert re.fullmatch("sld: could not write .*: No space left on device", refused.err.splitlines()[-1])
    assert not (tmp_path / "here" / "law.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "sld", "laws"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=surroundings())
    assert run.returncode == 2
    assert [line for line in run.stderr.splitlines() if line.startswith("sld: ")][-1].endswith(
        "No space left on device"
    )
    assert "Traceback" not in run.stderr and "Exception ignored" not in run.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, whose pipelines tell each exit code")
@pytest.mark.parametrize(
    ("arguments", "reader"),
    [
        ("laws --json", "head -n 1"),
        ("tasks show nanolm_moe --json", "head -n 1"),
        ("leaderboard --json", "head -n 1"),
        ("predict law.json many.csv", "head -n 1"),
        ("predict law.json many.csv", "true"),
        ("fit runs.csv --target loss --scale N,D --law E+A*N**-a+B*D**-b", "true"),
        ("--help", "true"),
    ],
)
def test_a_reader_that_leaves_is_no_drama(tmp_path: Path, law_file: Path, arguments: str, reader: str) -> None:
    (tmp_path / "many.csv").write_text("N,D\n" + "1e6,1e8\n" * 20_000, encoding="utf-8")
    line = f"{sys.executable} -m sld {arguments} | {reader} >/dev/null; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=surroundings())
    assert (run.stdout, run.stderr) == ("0\n", "")


def test_a_reader_of_the_progress_that_leaves_does_not_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Left())
    line = cli_output.ProgressLine("title")
    line.show("state")
    line.close()
    cli_output.remark("done")


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_a_program_without_output_ends_well(tmp_path: Path) -> None:
    line = f"{sys.executable} -m sld tasks >&-"
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=surroundings())
    assert run.returncode == 0 and "Traceback" not in run.stderr


# -- tables from pipes and other places --------------------------------------------------------------------------------


class _Pipe:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_points_may_come_from_a_pipe(sld: Run, law_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = 'run,N,D\nnächster,1B,"100,000,000,000"\n\nb,2e9,1e11\n'
    monkeypatch.setattr(sys, "stdin", _Pipe(points.encode()))
    predicted = sld("predict", law_file, "-")
    rows = list(csv.DictReader(io.StringIO(predicted.out)))
    assert [(row["run"], row["N"]) for row in rows] == [("nächster", "1B"), ("b", "2e9")]
    assert float(rows[0]["loss"]) == pytest.approx(loss(1e9, 1e11), rel=1e-3)
    assert "note: column 'N': 1B was read as 1e+09 (1 value)" in predicted.err
    monkeypatch.setattr(sys, "stdin", _Pipe(b""))
    one_line(sld("predict", law_file, "-"), "standard input is empty")
    monkeypatch.setattr(sys, "stdin", None)
    one_line(sld("predict", law_file, "-"), "standard input, which is closed")


def test_a_pipe_is_read_by_every_command(sld: Run, runs: Path, law_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(csv.reader(runs.read_text(encoding="utf-8").splitlines()))[1:]
    lines = "\n".join(json.dumps({"N": r[0], "D": r[1], "loss": r[2]}) for r in rows)
    pipe = lines.encode()
    monkeypatch.setattr(sys, "stdin", _Pipe(pipe))
    assert sld("score", law_file, "-", "--json").document["n_rows"] == 25
    monkeypatch.setattr(sys, "stdin", _Pipe(pipe))
    found = sld("discover", "-", *COLUMNS, *QUICK, "--drop", "N<2M")
    assert found.code == 0 and "note: 5 rows were left out by drop 'N<2M'" in found.out
    report = Path("sld-runs/stdin-0/report.md").read_text(encoding="utf-8")
    assert "sld discover - --target loss --scale N,D --drop 'N<2M'" in report
    monkeypatch.setattr(sys, "stdin", _Pipe(b"N,loss\n"))
    one_line(sld("fit", "-", *COLUMNS, "--law", "E"), "standard input: no column 'D'")


def test_a_wide_export_is_fitted_and_scored(sld: Run, tmp_path: Path) -> None:
    steps = (0, 10, 20, 40, 80, 160)
    rows = "".join(f"{s},{9 if not s else 2 + s**-0.5!r},{9 if not s else 3 + s**-0.5!r}\n" for s in steps)
    (tmp_path / "export.csv").write_text(f"Step,small - loss,large - loss\n{rows}", encoding="utf-8")
    options = ("--target", "loss", "--scale", "Step", "--group", "run")
    one_line(
        sld("fit", "export.csv", *options, "--law", "E"), "no column 'loss'", "--melt makes rows with columns Step"
    )
    law = ("--law", "E + A*Step**-a", "--out", "law.json")
    one_line(sld("fit", "export.csv", *options, *law, "--melt"), "got 0", '--drop "Step==0"')
    fitted = sld("fit", "export.csv", *options, *law, "--melt", "--drop", "Step==0", "--json").document["law"]
    assert fitted["constants"]["small"]["E"] == pytest.approx(2, abs=1e-3)
    scored = sld("score", "law.json", "export.csv", "--melt", "--drop", "Step==0", "--json").document
    assert scored["r2"] == pytest.approx(1, abs=1e-6) and scored["n_rows"] == 10
    one_line(sld("score", "law.json", "nanolm_moe", "--melt"), "melt is for bare tables")


def test_points_left_out_are_not_written(sld: Run, law_file: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("N,D\n0,1e8\n1e6,1e8\n", encoding="utf-8")
    one_line(sld("predict", law_file, "points.csv"), "got 0", '--drop "N==0"')
    predicted = sld("predict", law_file, "points.csv", "--drop", "N==0")
    assert predicted.out.count("\n") == 2 and "1 row was left out" in predicted.err


def test_a_pattern_that_the_shell_expanded_is_explained(sld: Run, runs: Path) -> None:
    one_line(sld("discover", runs, runs, *COLUMNS), "extra argument", "quote a pattern: 'runs/*.csv'")


def test_ctrl_c_before_anything_was_found(sld: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "discover", interrupted)
    one_line(sld("discover", runs, *COLUMNS), "interrupted", code=130)


def test_ctrl_c_keeps_the_best_law_so_far(runs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sld", "discover", str(runs), *COLUMNS, "--budget", "10min", "--out", "here"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", cwd=tmp_path, env=surroundings()
    )
    events = tmp_path / "here" / "events.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if events.exists() and len(events.read_bytes().splitlines()) > 20:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("interrupted")
    assert Law.load(tmp_path / "here").text()
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", out + err)


def test_an_error_message_stays_one_printable_line(sld: Run) -> None:
    one_line(sld("discover", "a\nb\x1b[31m.csv", *COLUMNS), "\\x1b[31m")


def in_terminal(*arguments: object, columns: int, cwd: Path) -> tuple[int, str]:
    """Runs a command in a terminal of that width; returns the exit code and what the terminal was sent."""
    import pty
    import struct
    import termios
    from fcntl import ioctl

    parent, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = surroundings() | {"TERM": "xterm"}
    command = [sys.executable, "-m", "sld", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd, env=env)
    os.close(terminal)

    def received() -> Iterator[bytes]:
        while True:
            try:
                data = os.read(parent, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            yield data

    text = b"".join(received()).decode()
    os.close(parent)
    return process.wait(timeout=60), text.replace("\r\n", "\n")


@pytest.mark.parametrize("arguments", [("tasks",), ("tasks", "show", "nanolm_moe"), ("laws", "show", "chinchilla")])
def test_lines_fit_a_narrow_terminal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, text = in_terminal(*arguments, columns=40, cwd=tmp_path)
    assert code == 0
    # a formula or number that is longer than the terminal has no place to break
    assert [line for line in text.splitlines() if len(line) > 40 and " " in line.strip()] == []


def test_progress_is_redrawn_on_a_terminal_and_wiped(runs: Path, tmp_path: Path) -> None:
    arguments = ("discover", runs, *COLUMNS, "--budget", "2s", "--workers", "1", "--out", "here")
    code, text = in_terminal(*arguments, columns=60, cwd=tmp_path)
    assert code == 0, text
    frames = re.findall(r"\r\x1b\[K([^\r\n]*)", text)
    assert any("formulas" in frame for frame in frames)
    assert max(map(len, frames)) < 60
    assert frames[-1] == "" or not frames[-1].startswith("\x1b")
    assert text.count("\x1b") == text.count("\r\x1b[K")  # no other control sequence
