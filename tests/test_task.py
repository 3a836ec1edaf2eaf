"""Tables and tasks: rows are read exactly, and what cannot be used is refused with its file, line and column."""

import gc
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from many_cases import case, each

from sld.core.errors import DataError, UsageError
from sld.data import task as task_module
from sld.data.task import (
    Table,
    Target,
    Task,
    Variable,
    bundled_tasks,
    check_task,
    load_task,
    read_points,
    table_from,
    task_from,
    tasks_root,
)

REPOSITORY = Path(__file__).parents[1]
DATA = Path(__file__).parents[2] / "shared" / "data"
CARDS = sorted(DATA.glob("*/*/task.toml"))

CSV = """\
family,N,D,lr,loss
a,1e6,1e8,0.001,4.5
a,2e6,1e8,0.002,4.2
b,1e6,2e8,0.001,4.1
b,4e6,2e8,0.004,3.7
"""
CARD = """\
name = "toy"
title = "Toy"
row = "one run"
licence = "CC0-1.0"
provenance = "made up"
extrapolation = "up in N"
group = {column = "family"}
files = {train = "train.csv", held_out = "held_out.csv"}
[[variable]]
column = "N"
extrapolate = true
[[variable]]
column = "D"
[[target]]
column = "loss"
lower = 0.0
[[law]]
name = "Chinchilla"
expression = "E + A/N**a + B/D**b"
constants = ["E", "A", "a", "B", "b"]
"""
HELD_OUT = "family,N,D,loss\na,1e8,1e8,2.5\nb,2e8,1e8,2.4\n"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "runs.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "toy"
    path.mkdir()
    for name, text in (("task.toml", CARD), ("train.csv", CSV), ("held_out.csv", HELD_OUT)):
        (path / name).write_text(text)
    return path


def toy(data: object, **changed: Any) -> Table:
    given: dict[str, Any] = {"target": "loss", "scale": ["N", "D"], "hyper": "lr", "group": "family", **changed}
    return table_from(data, **given)


def test_csv_is_read_with_roles_and_groups(write: Write) -> None:
    table = toy(write(CSV))
    assert table.symbols == ("N", "D", "lr") and table.n_rows == 4
    assert [v.role for v in table.variables] == ["scale", "scale", "hyperparameter"]
    assert table.groups == ("a", "b") and table.group_index.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(table.column("N"), [1e6, 2e6, 1e6, 4e6])
    np.testing.assert_array_equal(table.Y, [[4.5], [4.2], [4.1], [3.7]])
    assert table.X.flags.c_contiguous and table.notes == () and table.group_column == "family"


def test_ungrouped_rows_are_one_group(write: Write) -> None:
    table = toy(write(CSV), group=None)
    assert table.groups == ("all",) and table.group_index.tolist() == [0, 0, 0, 0]


def test_numbers_are_read_to_the_last_digit(write: Write) -> None:
    values = np.random.default_rng(0).lognormal(0, 30, 3000)
    rows = "".join(f"{v!r},{v!r}\n" for v in values.tolist())
    table = table_from(write("N,loss\n" + rows), target="loss", scale="N")
    np.testing.assert_array_equal(table.X[:, 0], values)
    np.testing.assert_array_equal(table.Y[:, 0], values)


def test_every_source_gives_the_same_table(write: Write, tmp_path: Path) -> None:
    path = write(CSV)
    frame = pd.read_csv(path)
    frame.to_parquet(tmp_path / "runs.parquet")
    frame.to_csv(tmp_path / "runs.tsv", sep="\t", index=False)
    categories = frame.astype({"family": "category", "loss": "Float64", "N": "int64"})
    spreadsheet = write(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode(), "excel.csv")
    spaced = write(CSV.replace(",", " , ").replace("\na", "\n\n a"), "spaced.csv")
    quoted = write(CSV.replace("a,", '"a",').replace("4.5", '"4.5"'), "quoted.csv")
    sources = (tmp_path / "runs.parquet", tmp_path / "runs.tsv", frame, categories, dict(frame), spreadsheet)
    digest = toy(str(path)).digest()
    for source in (*sources, spaced, quoted, frame.to_dict("list"), frame.sample(frac=1, random_state=0).sort_index()):
        assert toy(source).digest() == digest


def test_digest_changes_with_the_content(write: Write) -> None:
    table = toy(write(CSV))
    others = (
        toy(write(CSV.replace("3.7", "3.8"))),
        toy(write(CSV.replace("b,", "c,"))),
        toy(write(CSV), monotone={"N": "decreasing"}),
        toy(write(CSV), hyper=(), covariate="lr"),
        table.take([0, 1, 2]),
    )
    assert len({table.digest(), *(o.digest() for o in others)}) == 6


def test_utf8_names_and_names_outside_the_grammar(write: Write) -> None:
    table = table_from(
        write("Größe,N (params),家族,損失\n1,10,甲,4\n2,20,乙,3\n"),
        target="損失",
        scale=["Größe", "N (params)"],
        group="家族",
    )
    assert table.symbols == ("Größe", "N_params") and table.groups == ("甲", "乙")
    np.testing.assert_array_equal(table.column("N (params)"), table.column("N_params"))
    assert table.parse("A*N_params**-a").constants == ("A", "a")


def test_numeric_group_names_do_not_depend_on_the_source(write: Write) -> None:
    frame = pd.DataFrame({"size": [70, 160], "N": [1.0, 2.0], "loss": [3.0, 2.0]})
    for data in (frame, frame.astype({"size": float}), write("size,N,loss\n70,1,3\n160,2,2\n")):
        assert table_from(data, target="loss", scale="N", group="size").groups == ("70", "160")


@each(
    ("text", "message"),
    [
        ("", "runs.csv is empty"),
        ("\n\n", "runs.csv is empty"),
        ("family,N,D,lr,loss\n", "runs.csv has a header but no rows"),
        (CSV.replace("4.1", "high"), "runs.csv line 4: column 'loss' must be a number, got 'high'"),
        (CSV.replace("4.1", "1_0"), "runs.csv line 4: column 'loss' must be a number, got '1_0'"),
        (CSV.replace("a,2e6", "\n\na,2.e6.0"), "runs.csv line 5: column 'N' must be a number, got '2.e6.0'"),
        (CSV.replace("4.1", '"4,1"'), "runs.csv line 4: column 'loss' must be a number, got '4,1'"),
        (CSV.replace("4.1", "x" * 99), "line 4: column 'loss' must be a number, got 'x{37}...'"),
        (CSV.replace("4.1", ""), "runs.csv line 4: column 'loss' is empty or not a number; fill it in, or leave"),
        (CSV.replace("4.1", "NaN").replace("3.7", "NA"), "line 4: column 'loss' is empty .* \\(2 such rows\\)"),
        (CSV.replace("2e6", "inf"), "runs.csv line 3: column 'N' is infinite"),
        (CSV.replace("2e6", "1e999"), "runs.csv line 3: column 'N' is infinite"),
        (CSV.replace("2e6", "-2e6"), "line 3: scale variable 'N' must be positive, got -2e6; .*logarithm"),
        (CSV.replace("2e6", "0"), "line 3: scale variable 'N' must be positive, got 0"),
        (CSV.replace("2e8", "1e8"), "column 'D' is constant \\(1e8 in all rows\\)"),
        (CSV.replace("b,1e6", ",1e6"), "runs.csv line 4: group column 'family' is empty"),
        (CSV.replace("4.1", "4.1,9"), "runs.csv line 4 has 6 cells; the header has 5"),
        (CSV.replace(",4.1", ""), "runs.csv line 4 has 4 cells; the header has 5"),
        (CSV.replace("a,1e6", '"a\nz",1e6').replace("4.1", "?"), "runs.csv line 5: column 'loss' must be"),
        (CSV.replace("lr", "N"), "runs.csv has two columns named 'N'"),
        (CSV.replace("loss", "los"), "runs.csv: no column 'loss'; did you mean 'los'"),
        (CSV.replace(",", ";"), "runs.csv is separated by ';'"),
        (CSV.replace("a,1e6", '"a,1e6') + "x" * 200_000, "is not CSV: field larger"),
        (CSV.encode("utf-16"), "runs.csv is not UTF-8 text"),
        (CSV.encode() + b"\xe9,1,1,1,1\n", "runs.csv is not UTF-8 text"),
    ],
)
def test_bad_rows_are_refused_with_line_and_column(write: Write, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        toy(write(text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text('N,loss\t;"\n\r1.9e-_ x\0', max_size=60).map(str.encode), st.booleans())
def test_arbitrary_files_raise_nothing_but_data_errors(write: Write, content: bytes, headed: bool) -> None:
    path = write((b"N,loss\n" if headed else b"") + content)
    try:
        table = table_from(path, target="loss", scale="N")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(table.X).all() and np.isfinite(table.Y).all()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_many_rows_are_read_in_little_memory(write: Write) -> None:
    values = np.random.default_rng(0).lognormal(10, 5, (300_000, 2)).tolist()
    path = write("group,N,D,loss\n" + "".join(f"g{i % 7},{n!r},{d!r},{n!r}\n" for i, (n, d) in enumerate(values)))
    code = (
        "import sys; from sld.data.task import table_from;"
        "table = table_from(sys.argv[1], target='loss', scale=['N', 'D'], group='group');"
        # not ru_maxrss: that starts from what the parent held when it forked
        "print(table.n_rows, next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True, timeout=120)
    n_rows, peak_kb = map(int, done.stdout.split())
    # 70 MB, 50 of them without a row; cells kept as objects would take 150
    assert n_rows == 300_000 and peak_kb < 120e3


def test_a_column_name_with_a_newline_stays_on_one_line(write: Write) -> None:
    with pytest.raises(DataError) as caught:
        table_from(write('"N\nx",y\n1,2\n3,4\n'), target="loss", scale="N")
    assert "\n" not in str(caught.value)


def test_bad_row_far_down_a_file_is_named(write: Write) -> None:
    rows = [f"{i},{2 / i}" for i in range(1, 5001)]
    rows[4321] = "7,seven"
    with pytest.raises(DataError, match="line 4323: column 'loss' must be a number, got 'seven'"):
        table_from(write("N,loss\n" + "\n".join(rows)), target="loss", scale="N")


def test_missing_files_are_refused_with_a_suggestion(write: Write, tmp_path: Path) -> None:
    write(CSV)
    with pytest.raises(DataError, match=r"no file 'run.csv'; did you mean 'runs.csv'"):
        toy(tmp_path / "run.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without tables; wanted a table"):
        toy(tmp_path / "empty")
    with pytest.raises(DataError, match=r"cannot read .xls files; a table is .csv, .tsv, .json"):
        toy(write(b"PK", "runs.xls"))
    with pytest.raises(DataError, match=r"runs.parquet is not a Parquet file"):
        toy(write(CSV, "runs.parquet"))
    with pytest.raises(DataError, match="no file"):
        toy("a\0b")


@each(
    ("changed", "message"),
    [
        ({"target": "los"}, "no column 'los'; did you mean 'loss'"),
        ({"group": "famly"}, "no column 'famly'; did you mean 'family'"),
        ({"scale": "N", "hyper": "N"}, "column 'N' is named twice \\(scale and hyperparameter\\)"),
        ({"target": "N"}, "column 'N' is named twice"),
        ({"scale": (), "hyper": ()}, "name a variable .* runs.csv has family, N, D, lr, loss"),
        ({"target": ()}, "name the column to predict"),
        ({"log": "n"}, "log: no variable 'n'; did you mean 'N'"),
        ({"log": {"N": "log3"}}, "log of 'N' must be one of log10, log2, log, got 'log3'"),
        ({"monotone": {"N": "down"}}, "monotone of 'N' must be one of increasing, decreasing, got 'down'"),
        ({"lower": 5, "upper": 1}, "lower = 5 must be below upper = 1"),
        ({"lower": float("nan")}, "lower must be a number, got nan; leave it out where there is no bound"),
        ({"lower": 4}, "column 'loss' leaves the declared bounds 4 to inf in 1 row .e.g. 3.7"),
        ({"missing": "skip"}, "missing must be 'error' or 'drop'"),
    ],
)
def test_wrong_columns_are_refused(write: Write, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        toy(write(CSV), **changed)


@each(
    ("column", "values", "message"),
    [
        ("N", [1.0, None], "the table row 2: column 'N' is empty"),
        ("N", [1.0, pd.NA], "the table row 2: column 'N' is empty"),
        ("N", [1.0, "x"], "the table row 2: column 'N' must be a number, got 'x'"),
        ("N", [1.0, [2]], "column 'N' is not one value per row|column 'N' must be a number"),
        ("N", [True, False], "column 'N' must be numbers, got true and false"),
        ("N", np.array(["2020", "2021"], dtype="M8[Y]"), "column 'N' must be numbers, got dates"),
        ("N", [1.0, 2.0, 3.0], "column 'loss' has 2 rows, wanted 3"),
        ("N", [[1.0], [2.0]], "column 'N' has shape"),
        ("g", ["a", None], "the table row 2: group column 'g' is empty"),
        ("g", ["a", " "], "the table row 2: group column 'g' is empty"),
    ],
)
def test_bad_columns_in_memory_are_refused(column: str, values: Any, message: str) -> None:
    data = {"N": [1.0, 2.0], "loss": [3.0, 2.0], "g": ["a", "b"], column: values}
    with pytest.raises(DataError, match=message):
        table_from(data, target="loss", scale="N", group="g")
    with pytest.raises(DataError, match="wanted a path, a DataFrame or a mapping"):
        table_from([1, 2], target="loss", scale="N")


def test_missing_rows_can_be_left_out_and_are_counted(write: Write) -> None:
    table = toy(write(CSV.replace("4.5", "").replace("2e6", "-inf")), missing="drop", scale="N")
    assert table.groups == ("b",) and table.n_rows == 2
    assert table.notes[0] == "2 rows were left out: empty or not finite (first: line 2, column 'loss')"
    with pytest.raises(DataError, match="every row has an empty or infinite cell"):
        table_from({"N": [1, 2], "loss": [None, np.inf]}, target="loss", scale="N", missing="drop")


def test_logarithms_may_be_negative(write: Write) -> None:
    table = toy(write(CSV.replace("1e6", "-1").replace("e6", "")), log=["N"])
    assert table.variables[0].log == "log10" and table.X[0, 0] == -1
    with pytest.raises(DataError, match=r"line 2: 1e6 in 'N' would be the log10 of a number that no machine holds"):
        toy(write(CSV), log=["N"])


def test_proportions_must_sum_to_one() -> None:
    data = {"p": [0.2, 0.5], "q": [0.8, 0.51], "loss": [1.0, 2.0]}
    table = table_from(data, target="loss", proportion=["p", "q"])
    assert table.shares == ("p", "q")
    with pytest.raises(DataError, match=r"row 2: proportions must sum to 1, got 0.9"):
        table_from({**data, "q": [0.8, 0.4]}, target="loss", proportion=["p", "q"])
    with pytest.raises(DataError, match=r"row 1: proportion 'p' must be between 0 and 1, got 20"):
        table_from({**data, "p": [20, 50]}, target="loss", proportion=["p", "q"])


def test_copies_and_repeats_are_noted_and_kept(write: Write) -> None:
    # lines 6 and 8 copy line 2; line 7 measures the point of line 5 again
    text = CSV + "a,1e6,1e8,0.001,4.5\nb,4e6,2e8,0.004,3.8\na,1e6,1e8,0.001,4.5\n"
    table = toy(write(text))
    assert table.n_rows == 7
    assert table.notes == (
        "2 rows are exact copies of an earlier row (first: line 6 copies line 2); kept",
        "1 point was measured more than once (2 rows), so the noise floor is known",
    )
    points = table.points()
    assert points[0] == points[4] == points[6] and points[3] == points[5] and len(set(points.tolist())) == 4


def test_same_point_in_two_groups_is_no_repeat() -> None:
    table = table_from({"N": [1, 1, 2], "g": ["a", "b", "b"], "loss": [3, 3, 2]}, target="loss", scale="N", group="g")
    assert table.notes == () and len(set(table.points().tolist())) == 3


def test_parts_of_a_table(write: Write) -> None:
    table = toy(write(CSV))
    part = table.take([3, 0])
    np.testing.assert_array_equal(part.Y[:, 0], [3.7, 4.5])
    assert part.groups == ("a", "b") and part.group_index.tolist() == [1, 0]
    only_b = table.take(table.column("N") > 3e6)
    assert only_b.groups == ("b",) and only_b.group_index.tolist() == [0]
    assert table.of_group("a").n_rows == 2
    assert table.take([]).n_rows == 0
    with pytest.raises(UsageError, match="no group 'c'"):
        table.of_group("c")
    with pytest.raises(UsageError, match="no column 'los'; did you mean 'loss'"):
        table.column("los")
    np.testing.assert_array_equal(table.with_targets([1, 2, 3, 4]).Y[:, 0], [1, 2, 3, 4])
    assert list(table.inputs) == ["N", "D", "lr"]
    assert pickle.loads(pickle.dumps(table)).digest() == table.digest()


def test_one_target_keeps_its_own_proportion() -> None:
    data = {"p": [0.2, 0.5], "q": [0.8, 0.5], "l1": [1.0, 2.0], "l2": [3.0, 2.0]}
    table = table_from(data, target=["l1", "l2"], proportion=["p", "q"])
    assert [table.own_share(j) for j in range(2)] == ["p", "q"]
    second = table.for_target(1)
    assert second.own_share(0) == "q" and second.parse("c*exp(t*own)").text == "c*exp(t*q)"
    assert table_from(data, target="l1", proportion=["p", "q"]).own_share(0) is None


def test_table_refuses_arrays_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="shapes"):
        Table((Variable("N"),), (Target("loss"),), X=np.ones((3, 2)), Y=np.ones((3, 1)))


def test_points_to_predict_need_no_targets(write: Write) -> None:
    table = toy(write(CSV))
    for data in (write(CSV), table, {"N": [1e6], "D": [1e8], "lr": [1e-3], "family": ["a"]}):
        points = read_points(data, table.variables[:2], "family")
        assert points.symbols == ("N", "D") and points.targets == () and points.Y.shape == (points.n_rows, 0)
        assert points.groups[0] == "a"
    single = read_points({"N": 1e6, "D": 1e8}, table.variables[:2])
    np.testing.assert_array_equal(single.X, [[1e6, 1e8]])
    with pytest.raises(DataError, match="no column 'D'"):
        read_points({"N": [1e6]}, table.variables[:2])
    with pytest.raises(DataError, match="no column 'family'"):
        read_points(write("N,D\n1,1\n"), table.variables[:2], "family")
    with pytest.raises(DataError, match="no groups"):
        read_points(toy(write(CSV), group=None), table.variables[:2], "family")
    with pytest.raises(DataError, match="no column 'lr'"):
        read_points(toy(write(CSV), hyper=()), table.variables)


def test_task_folder_is_loaded(folder: Path) -> None:
    task = load_task(folder)
    assert task.name == "toy" and task.train.groups == ("a", "b") and task.path == folder
    held_out = task.held_out()
    assert held_out is not None and held_out.n_rows == 2
    assert load_task(str(folder / "task.toml")).train.digest() == task.train.digest()
    assert check_task(folder) == []


def test_table_has_no_way_to_its_task(folder: Path) -> None:
    # whoever holds a table must not reach held-out rows: no attribute leads to a task, a card or a path
    task = load_task(folder)
    seen: list[object] = [task.train]
    for item in seen:
        assert not isinstance(item, Task | Path | task_module.Card)
        seen += [o for o in gc.get_referents(item) if not isinstance(o, type) and not any(o is s for s in seen)]


def test_held_out_rows_are_not_read_before_they_are_asked_for(folder: Path) -> None:
    (folder / "held_out.csv").unlink()
    task = load_task(folder)
    with pytest.raises(DataError, match=r"no file 'held_out.csv'"):
        task.held_out()
    (folder / "task.toml").write_text(CARD.replace(', held_out = "held_out.csv"', ""))
    assert load_task(folder).held_out() is None


def test_bad_rows_of_a_task_name_its_folder(folder: Path) -> None:
    (folder / "train.csv").write_text(CSV.replace("4.1", "x"))
    with pytest.raises(DataError, match=r"toy/train.csv line 4: column 'loss' must be a number, got 'x'"):
        load_task(folder)


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("task.toml", 'name = "toy"', 'name = "tory"', "the card's name 'tory' differs from the folder's, 'toy'"),
        ("task.toml", 'licence = "CC0-1.0"', "", "the card says nothing under 'licence'"),
        ("task.toml", 'extrapolation = "up in N"', "", "does not say how the held-out rows were chosen"),
        ("task.toml", "extrapolate = true", "", "no variable is marked extrapolate"),
        ("task.toml", '"B", "b"]', '"B", "c"]', "law 'Chinchilla' lists constants its formula lacks: c"),
        ("task.toml", '"B", "b"]', '"B"]', "law 'Chinchilla' has names that are neither variables nor listed: b"),
        ("task.toml", 'row = "one run"', "max_constants = 4", "has 5 constants, over max_constants = 4"),
        ("task.toml", '"B", "b"]', '"B", "b"]\nvalues = {x = {F = 1}}', "gives a value for 'F'"),
        ("task.toml", 'title = "Toy"', "titel = 1", "no key 'titel'; did you mean 'title'"),
        ("task.toml", ', held_out = "held_out.csv"', "", "no held-out rows"),
        ("train.csv", "4.1", "-4.1", "train.csv: column 'loss' leaves the declared bounds"),
        ("train.csv", "2e8", "1e8", "train.csv: column 'D' is constant"),
        ("train.csv", "4.1", "", "train.csv line 4: column 'loss' is empty"),
        ("held_out.csv", "2.4", "bad", "held_out.csv line 3: column 'loss' must be a number"),
        ("held_out.csv", "b,2e8", "c,2e8", "held_out.csv: groups without training rows: c"),
        ("held_out.csv", "b,2e8,1e8", "b,4e6,2e8", "1 of 2 rows stand at a point that has training rows"),
        ("held_out.csv", "b,2e8,1e8", "b,-4e6,2e8", "scale variable 'N' must be positive"),
        ("held_out.csv", HELD_OUT, "family,N,D,loss\na,3e6,1e8,2\n", "no row lies beyond the training range"),
    ],
)
def test_check_reports_what_is_doubtful(folder: Path, file: str, old: str, new: str, problem: str) -> None:
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    found = check_task(folder)
    assert any(problem in sentence for sentence in found), found


def test_unknown_tasks_are_refused_with_a_suggestion(folder: Path, write: Write) -> None:
    name = bundled_tasks()[0]
    with pytest.raises(UsageError, match=f"no task '{name}x'; did you mean .*{name}.*sld tasks lists all"):
        load_task(name + "x")
    with pytest.raises(UsageError, match="no file or task folder"):
        load_task("nowhere/at_all")
    with pytest.raises(UsageError, match=r"runs.csv is a table, not a task: name its columns"):
        load_task(write(CSV))
    (folder / "task.toml").unlink()
    with pytest.raises(DataError, match=r"has no task.toml"):
        load_task(folder)
    with pytest.raises(DataError, match=r"has no task.toml"):
        check_task(folder)


def test_bundled_tasks_are_sound() -> None:
    assert bundled_tasks() and tasks_root() == REPOSITORY / "tasks"
    for name in bundled_tasks():
        task = load_task(name)
        assert task.name == name and task.held_out() is not None


def test_bare_table_becomes_a_task(write: Write) -> None:
    task = task_from(write(CSV, "my runs.csv"), target="loss", scale=["N", "D"], group="family")
    assert task.name == "my_runs" and task.card.group == "family" and task.held_out() is None
    assert task.card.columns == ("family", "N", "D", "loss")
    assert task_from({"N": [1, 2], "loss": [2, 1]}, target="loss", scale="N").name == "table"


@pytest.mark.slow
@pytest.mark.skipif(not CARDS, reason="the folder of published tables is not beside this checkout")
def test_published_tables_are_read() -> None:
    for path in CARDS:
        with case(path.parent.name):
            task = load_task(path)
            held_out = task.held_out()
            assert held_out is not None and set(held_out.groups) <= set(task.train.groups)
            expected = pd.read_csv(path.parent / "train.csv")
            for columns, values in ((task.train.variables, task.train.X), (task.train.targets, task.train.Y)):
                np.testing.assert_allclose(values, expected[[c.column for c in columns]], rtol=1e-15)
            assert [s for s in check_task(path) if "over max_constants" not in s] == []


def test_importing_the_reader_imports_nothing_heavy() -> None:
    heavy = "{'pandas', 'scipy', 'sympy', 'llvmlite', 'matplotlib', 'pyarrow'}"
    code = f"import sys, sld.data.task; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"
