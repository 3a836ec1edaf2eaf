"""What cannot be done is refused: exit code 2 or 1, one clear line, and nothing written."""

from pathlib import Path

import pytest
from cli_runs import COLUMNS, QUICK, one_line, write_runs, write_task
from commands import Run
from many_cases import each

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


@each("case", BAD_TABLES)
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


@each(
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
