"""The commands: what they print and what they write."""

import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from cli_runs import COLUMNS, QUICK, SCORE_KEYS, child, loss, one_line, write_runs, write_task
from commands import Run
from many_cases import each

from sld.cli import output as cli_output
from sld.cli.show import laws as show_laws
from sld.cli.show.predictions import rounded
from sld.data import task as core_task
from sld.data.task import load_task, tasks_root
from sld.laws.catalogue import load_catalogue
from sld.laws.law import Law

COMMANDS = [
    (),
    ("tasks",),
    ("tasks", "show"),
    ("tasks", "check"),
    ("discover",),
    ("fit",),
    ("predict",),
    ("count",),
    ("score",),
    ("laws",),
    ("laws", "show"),
    ("submit",),
    ("leaderboard",),
    ("leaderboard", "verify"),
]


@each("command", COMMANDS)
def test_help_shows_examples_and_json(sld: Run, command: tuple[str, ...]) -> None:
    shown = sld(*command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"  sld {' '.join(command)}".rstrip() in shown.out.partition("Examples:")[2]
    assert "--json" in shown.out or not command
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", shown.out)


@each("command", COMMANDS)
def test_help_fits_a_narrow_terminal(sld: Run, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = sld(*command, "--help").out.partition("Examples:")[0]  # examples are for pasting and stay whole
    assert max(map(len, text.splitlines())) <= 40


def test_no_command_shows_the_help(sld: Run) -> None:
    assert sld().out == sld("--help").out


def test_help_says_the_whole_sentence_of_each_command(sld: Run) -> None:
    listed = sld("--help").out.partition("Get runs into a table:")[2].partition("Examples:")[0]
    assert listed.count("\n  collect ") == 1 and "..." not in listed
    assert "which size, how many tokens, which hyperparameters?" in " ".join(listed.split())


def test_numbers_are_written_as_decisions_write_them() -> None:
    written = {1601.29: "1601", 1.28e5: "1.28e5", 12345678.0: "1.23e7", 99999.0: "1e5", 0.05: "0.05", 3.1e-7: "3.1e-7"}
    assert {value: cli_output.shown(value, 3) for value in written} == written
    assert [cli_output.shown(value) for value in (None, float("nan"), -23456.0)] == ["-", "-", "-23456"]


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


@each("name", core_task.bundled_tasks())
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_discover_json_is_one_document(sld: Run, runs: Path) -> None:
    found = sld("discover", runs, *COLUMNS, *QUICK, "--out", "here", "--json")
    document = found.document
    assert document["law"] == json.loads(Path("here/law.json").read_text(encoding="utf-8"))
    assert len(document["folds"]) >= 3
    assert document["held_out"] is None  # a bare table has none
    assert "searching" in found.err


@pytest.mark.slow
def test_discover_takes_groups_formulas_and_proposers(sld: Run, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs.csv", group=True)
    mine = "E + A*N**-a + B*D**-b"
    options = ("--group", "family", "--try", mine, "--proposers", "catalogue", "--out", "here", "--json")
    document = sld("discover", runs, *COLUMNS, *QUICK, *options).document
    assert set(document["law"]["constants"]) == {"small", "groß"}
    assert json.loads(Path("here/events.jsonl").read_text(encoding="utf-8").splitlines()[0])["origin"] == "user"
    assert document["config"]["proposers"] == ["catalogue"]


@pytest.mark.slow
def test_the_same_command_goes_on_where_it_stopped(sld: Run, runs: Path) -> None:
    command = ("discover", runs, *COLUMNS, "--workers", "1", "--out", "here", "--json")
    first = sld(*command, "--budget", "200fits").document
    second = sld(*command, "--budget", "600fits").document
    whole = sld("discover", runs, *COLUMNS, "--workers", "1", "--out", "new", "--json", "--budget", "600fits").document
    assert first["counts"]["tried"] < second["counts"]["tried"] == whole["counts"]["tried"]
    assert second["law"] == whole["law"]


@pytest.mark.slow
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
    exact = list(csv.DictReader(Path("p.csv").read_text(encoding="utf-8").splitlines()))
    document = sld("predict", law_file, "points.csv", "--json").document
    assert document["predictions"]["loss"] == [float(row["loss"]) for row in exact]
    for short, long in zip(rows, exact, strict=True):
        assert len(short["loss"]) < len(long["loss"]) and float(short["loss"]) == pytest.approx(
            float(long["loss"]), 1e-4
        )


def test_predictions_have_the_digits_that_their_interval_warrants() -> None:
    y, low, high = np.array([[1.23456789, 1.2, 1.26], [8.6e6, 8.1e6, 9.3e6], [0.0012, 0.0, 0.0031], [5, 5, 5]]).T
    shown = rounded({"y": y, "y_low": low, "y_high": high})
    assert shown["y"] == ["1.235", "8.6e6", "0.00120", "5"] and shown["y_low"][0] == "1.200"
    known = high > low
    for name, values in (("y", y), ("y_low", low), ("y_high", high)):
        printed = np.array([float(text) for text in shown[name]])
        assert np.all(abs(printed - values)[known] <= (high - low)[known] / 20)
    assert rounded({"y": np.array([1.23456789, math.nan, 1e22 / 3])}) == {"y": ["1.23457", "nan", "3.33333e21"]}


def test_predict_says_where_the_law_gives_no_number(sld: Run, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("N,loss\n" + "".join(f"{n},{2 - n / 100}\n" for n in range(1, 20)), "utf-8")
    sld("fit", "runs.csv", "--target", "loss", "--scale", "N", "--law", "sqrt(a - b*N)", "--out", "law.json")
    (tmp_path / "points.csv").write_text("N\n5\n100000\n", encoding="utf-8")
    predicted = sld("predict", "law.json", "points.csv")
    assert "no finite prediction for 1 of 2 points" in predicted.err
    assert predicted.out.splitlines()[2].startswith("100000,nan")
    assert sld("predict", "law.json", "points.csv", "--json").document["predictions"]["loss"][1] is None


def test_predict_says_of_a_law_without_intervals_that_it_has_none(sld: Run, law_file: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("N,D\n1e9,2e10\n", encoding="utf-8")
    assert "note: no intervals: published constants have none" in sld("predict", "chinchilla", "points.csv").err
    assert "no intervals" not in sld("predict", law_file, "points.csv").err


def test_predict_takes_a_task_for_its_held_out_runs_and_does_not_look_at_what_they_gave(
    sld: Run, law_file: Path, tmp_path: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(sld("predict", law_file, "nanolm_chinchilla").out)))
    points = load_task("nanolm_chinchilla").held_out()
    assert points is not None
    assert [float(row["N"]) for row in rows] == points.column("N").tolist()
    assert list(rows[0])[:3] == ["N", "D", "loss"] and "loss_predicted" not in rows[0]
    write_task(tmp_path / "mine", 'role = "scale"')
    one_line(sld("predict", law_file, "mine"), "'mine' has no held-out rows", "a table of points with N, D")
    one_line(sld("predict", law_file, "nanolm_chinchila"), "did you mean 'nanolm_chinchilla'")


@pytest.mark.slow
def test_predict_adds_intervals_that_hold_the_prediction(sld: Run, runs: Path) -> None:
    sld("discover", runs, *COLUMNS, *QUICK, "--out", "here")
    header, *rows = csv.reader(io.StringIO(sld("predict", "here", runs).out))
    assert header == ["N", "D", "loss", "loss_predicted", "loss_low", "loss_high"]
    for row in rows:
        assert float(row[4]) <= float(row[3]) <= float(row[5])


def test_predict_gives_the_interval_asked_for(sld: Run, runs: Path) -> None:
    sld("fit", runs, "--target", "loss", "--scale", "N,D", "--law", "E + A*N**-a + B*D**-b", "--out", "here")

    def widths(*options: str) -> list[float]:
        rows = csv.DictReader(io.StringIO(sld("predict", "here", runs, *options).out))
        return [float(row["loss_high"]) - float(row["loss_low"]) for row in rows]

    usual = widths()
    assert usual == widths("--level", "90", "--interval", "run") == widths("--level", "0.9") == widths("--level", "90%")
    for narrower in (widths("--level", "50"), widths("--interval", "law")):
        assert all(w < u for w, u in zip(narrower, usual, strict=True))
    one_line(sld("predict", "here", runs, "--level", "30"), "--level wants per cent", "got 30")
    one_line(sld("predict", "here", runs, "--interval", "both"), "--interval wants run", "or law", "got both")


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


@pytest.mark.slow
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


@pytest.mark.slow
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
