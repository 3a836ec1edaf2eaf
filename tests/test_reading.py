"""Whatever a table comes in, the same rows are read; whatever is wrong with it is one line."""

import datetime
import decimal
import gzip
import io
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from many_cases import each

import sld
from sld.api import as_task
from sld.core.errors import DataError, UsageError
from sld.data.points_file import with_columns
from sld.data.reading import column_names, open_source, piped_source
from sld.data.table import Table, table_from

CASES = Path(__file__).parents[2] / "shared" / "cases"
# values of few digits: pandas and spreadsheets keep fewer than 17
RECORDS = [{"N": 1e6 * k, "loss": 2 + (8 - k) ** 2 / 64, "g": "ab"[k % 2]} for k in range(1, 7)]
CSV = "N,loss,g\n" + "".join(f"{r['N']!r},{r['loss']!r},{r['g']}\n" for r in RECORDS)
COLUMNS = {name: [record[name] for record in RECORDS] for name in ("N", "loss", "g")}
LINES = "\n".join(map(json.dumps, RECORDS)) + "\n\n"


def read(data: object, **given: Any) -> Table:
    return table_from(data, **{"target": "loss", "scale": "N", **given})


Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def spreadsheet(rows: Sequence[Any], *more: Sequence[Any]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for other in more:
        sheet = book.create_sheet()
        for row in other:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


SHEET: list[list[Any]] = [["N", "loss", "g"], *([r["N"], r["loss"], r["g"]] for r in RECORDS)]
PANDAS = pd.DataFrame(COLUMNS)
FORMS: dict[str, str | bytes] = {
    "runs.tsv": CSV.replace(",", "\t"),
    "runs.csv.gz": gzip.compress(CSV.encode()),
    "RUNS.CSV.GZ": gzip.compress(CSV.encode()),
    "runs.tsv.gz": gzip.compress(CSV.replace(",", "\t").encode()),
    "runs.json": json.dumps(RECORDS, indent=2),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(RECORDS).encode(),
    "lines.json": LINES,
    "runs.jsonl": LINES,
    "pretty.jsonl": json.dumps(RECORDS, indent=1),
    "runs.ndjson": LINES.replace("\n", "\r\n"),
    "runs.jsonl.gz": gzip.compress(LINES.encode()),
    "columns.json": json.dumps(COLUMNS),
    "pandas.json": str(PANDAS.to_json()),
    "split.json": str(PANDAS.to_json(orient="split")),
    "table.json": str(PANDAS.to_json(orient="table")),
    "wandb_table.json": json.dumps({"columns": list(COLUMNS), "data": [list(r.values()) for r in RECORDS]}),
    "key.json": json.dumps({"runs": RECORDS}),
    "key_and_more.json": json.dumps({"date": "2024", "config": {"a": 1}, "runs": RECORDS}),
    "runs.xlsx": spreadsheet(SHEET),
    "lower.xlsx": spreadsheet([[], [None], *([None, *row] for row in SHEET), [], [None, " "]]),
    "bare": CSV,
    "bare_lines": LINES,
    "packed": gzip.compress(CSV.encode()),
    "packed.gz": gzip.compress(LINES.encode()),
    "bare_sheet": spreadsheet(SHEET),
}


@each("name", FORMS)
def test_every_format_gives_the_same_table(write: Write, name: str) -> None:
    wanted = read(write("runs.csv", CSV), group="g").digest()
    path = write(name, FORMS[name])
    assert read(path, group="g").digest() == wanted
    assert as_task(str(path), target="loss", scale="N", group="g").train.digest() == wanted
    assert read(piped_source(path.read_bytes()), group="g").digest() == wanted


def test_tables_in_memory_are_the_same(tmp_path: Path) -> None:
    wanted = read(COLUMNS, group="g").digest()
    pq.write_table(pa.table(COLUMNS), tmp_path / "runs.parquet")
    others: list[Any] = [RECORDS, PANDAS, PANDAS.convert_dtypes(), pa.table(COLUMNS), tmp_path / "runs.parquet"]
    assert {read(data, group="g").digest() for data in others} == {wanted}


@pytest.mark.slow
def test_polars_frames_are_read() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(COLUMNS)
    assert read(frame, group="g").digest() == read(COLUMNS, group="g").digest()
    with pytest.raises(DataError, match="LazyFrame"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # polars says that looking at columns costs something
            read(frame.lazy())
    wide = frame.with_columns(N=frame["N"].cast(pl.Int128), g=frame["g"].cast(pl.Categorical))
    assert read(wide, group="g").digest() == read(COLUMNS, group="g").digest()


def test_a_search_takes_a_path_in_python(write: Write) -> None:
    found = sld.discover(str(write("runs.jsonl", LINES)), target="loss", scale="N", budget="100fits", workers=1)
    assert found.law.targets[0].column == "loss"


def test_numbers_of_people_are_noted_wherever_they_come_from(write: Write) -> None:
    rows = [("125M", 3), ("350M", 2.5), ("1.3B", 2)]
    sources: list[Any] = [
        write("runs.csv", "N,loss\n" + "".join(f"{n},{y}\n" for n, y in rows)),
        write("runs.json", json.dumps([{"N": n, "loss": y} for n, y in rows])),
        write("runs.xlsx", spreadsheet([["N", "loss"], *map(list, rows)])),
        pd.DataFrame(rows, columns=["N", "loss"]),
    ]
    for data in sources:
        table = read(data)
        assert table.X[:, 0].tolist() == [1.25e8, 3.5e8, 1.3e9]
        assert table.notes == ("column 'N': 125M was read as 1.25e8 (2 values), 1.3B was read as 1.3e9 (1 value)",)
    assert read(sources[0], scale=(), covariate="loss", target="N", group=None).Y[0] == 1.25e8


def test_records_may_be_nested_and_lack_keys(write: Write) -> None:
    runs = [{"config": {"model": {"N": 10 * k}, "tags": ["x"]}, "summary": {"loss": 1 / k}} for k in (1, 2, 3)]
    more: list[Any] = [*runs, {"config": {"model": {"N": 40}}, "note": "crashed"}]
    path = write("runs.jsonl", "\n".join(map(json.dumps, more)))
    assert column_names(path) == ("config.model.N", "config.tags", "summary.loss", "note")
    with pytest.raises(DataError, match=r"line 4: column 'summary.loss' is empty or not a number"):
        table_from(path, target="summary.loss", scale="config.model.N")
    table = table_from(path, target="summary.loss", scale="config.model.N", missing="drop")
    assert table.X[:, 0].tolist() == [10, 20, 30]


@each(
    ("name", "content", "message"),
    [
        ("a.json", "", "a.json is empty; wanted a list of objects"),
        ("a.json", "[]", "a.json is an empty list"),
        ("a.json", "{}", "a.json is an empty object"),
        ("a.json", "3", "a.json is a number; wanted"),
        ("a.json", "null", "a.json is null; wanted"),
        ("a.json", '{"N": []}', "a.json has columns but no rows"),
        ("a.json", '[{"N": 1, "loss": 2}, 3]', "record 2 is a number, wanted an object"),
        ("a.json", "[[1, 2], [3, 4]]", "record 1 is a list, wanted an object"),
        ("a.json", '{"N": [1, 2], "loss": [1]}', "column 'loss' has 1 values, column 'N' has 2"),
        ("a.json", '{"a": {"N": 1}, "b": {"N": 2}}', "a.json is an object of objects"),
        ("a.json", '{"a": [{"N": 1}], "b": [{"N": 2}]}', "holds records under 'a', 'b'"),
        ("a.json", '{"columns": ["N", "loss"], "data": [[1]]}', "record 1 has 1 values; there are 2 columns"),
        ("a.json", '[{"N": 1, "N": 2, "loss": 1}]', "has the key 'N' twice"),
        ("a.json", '[{"a": {"b": 1}, "a.b": 2}]', "record 1 has the key 'a.b' twice"),
        ("a.jsonl", '{"N": 1}\n{"N": 1, "N": 2}', "line 2 has the key 'N' twice"),
        ("a.jsonl", '{"N": 1, "loss": 2}\n\n{"N": 2, "lo', "line 3 is not JSON"),
        ("a.jsonl", '{"N": 1, "loss": 2}\n[1]\n', "line 2 is a list"),
        ("a.json", json.dumps(RECORDS)[:-9], "line 1 is not JSON"),
        ("a.json", "[" * 100_000, "nested too deep"),
        ("a.json", "[" + '{"a":' * 50 + "1" + "}" * 50 + "]", "nested more than 20 deep"),
        ("a.json", '[{"N": ' + "9" * 5000 + "}]", "a number that is too long"),
        ("a.json", '[{"N": ' + "9" * 400 + ', "loss": 1}]', "record 1: column 'N' is infinite"),
        ("a.json", '[{"N": NaN, "loss": 1}]', "record 1: column 'N' is empty or not a number"),
        ("a.json", '[{"N": Infinity, "loss": 1}]', "record 1: column 'N' is infinite"),
        ("a.json", '[{"N": true, "loss": 1}]', "record 1: column 'N' must be a number, got 'True'"),
        ("a.json", '[{"N": [1], "loss": 1}]', "record 1: column 'N' must be a number, got '\\[1\\]'"),
        ("a.json", b"\xff\xfe", "a.json is not UTF-8 text"),
        ("a.json", "\0\0", "a.json line 1 is not JSON"),
        ("a.csv.gz", gzip.compress(CSV.encode())[:-12], "a.csv.gz is cut off"),
        ("a.csv.gz", gzip.compress(CSV.encode())[:4], "a.csv.gz is cut off"),
        ("a.json.gz", gzip.compress(LINES.encode())[:-12], "a.json.gz is cut off"),
        ("a.csv.gz", CSV, "a.csv.gz is not a gzip file"),
        ("a.csv.gz", gzip.compress(b""), "a.csv.gz is empty"),
        ("a.xlsx", b"", "a.xlsx is not an .xlsx file"),
        ("a.xlsx", CSV, "a.xlsx is not an .xlsx file"),
        ("a.xlsx", spreadsheet(SHEET)[:-100], "a.xlsx is not an .xlsx file"),
        ("a.xlsx", spreadsheet([]), "a.xlsx is empty"),
        ("a.xlsx", spreadsheet([["N", "loss"]]), "a.xlsx has a header but no rows"),
        ("a.xlsx", spreadsheet([["N", "loss"], [1, 2], [None, 3]]), "row 3: column 'N' is empty"),
        ("a.xlsx", spreadsheet([["N", "loss"], [1, 2], ["=A2*2", 3]]), "cell A3 is a formula without a stored value"),
        ("a.xlsx", spreadsheet([["N", "loss"], [datetime.datetime(2024, 1, 1), 3]]), "row 2: column 'N' must be a"),
        ("a.xlsx", spreadsheet([["N", "loss"], [True, 3]]), "row 2: column 'N' must be a number, got 'True'"),
        ("a.xlsx", spreadsheet(SHEET[1:]), "the first line looks like data .* is the header missing"),
        ("a.parquet", b"", "a.parquet is not a Parquet file"),
        ("a.csv", "90, 1.2\n95, 1.4\n", "the first line looks like data .90, 1.2.: is the header missing"),
        ("a.csv", "a,1e6,1e8,4.5\na,2e6,1e8,4.2\n", "is the header missing"),
        ("a.csv", "90,90\n95,95\n", "is the header missing"),
        ("a.csv", "N,loss\n125,000,3\n", "has 3 cells; the header has 2; a number with commas in it needs quotes"),
        ("a.xls", b"PK", "cannot read .xls files; a table is .csv, .tsv, .json"),
        ("a.foo.gz", b"PK", "cannot read .foo files; a table is"),
    ],
)
def test_what_cannot_be_read_is_one_line(write: Write, name: str, content: str | bytes, message: str) -> None:
    path = write(name, content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 260
    with pytest.raises(UsageError):
        as_task(str(path), target="loss", scale="N")


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([FORMS[n] for n in ("runs.json", "runs.jsonl", "runs.csv.gz", "runs.xlsx", "columns.json")]),
    st.integers(0, 10**9),
    st.binary(max_size=3),
    st.sampled_from([".json", ".jsonl", ".csv.gz", ".xlsx", ""]),
)
def test_a_damaged_file_raises_nothing_but_data_errors(
    write: Write, content: str | bytes, at: int, bytes_there: bytes, suffix: str
) -> None:
    data = content.encode() if isinstance(content, str) else content
    k = at % len(data)
    path = write(f"damaged{suffix}", data[:k] + bytes_there + data[k + len(bytes_there) :])
    try:
        table = read(path)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(table.X).all() and np.isfinite(table.Y).all()


# -- Parquet ----------------------------------------------------------------------------------------------------------


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table({"N": [1.0, 2.0, 4.0], "loss": [3.0, 2.0, 1.5], **columns}), path / "runs.parquet")
    return path / "runs.parquet"


@pytest.mark.parametrize("ordered", [False, True])
def test_a_missing_category_does_not_join_another(tmp_path: Path, ordered: bool) -> None:
    indices = pa.array([0, None, 1], pa.uint32())
    path = parquet(tmp_path, g=pa.DictionaryArray.from_arrays(indices, ["a", "b"], ordered=ordered))
    with pytest.raises(DataError, match=r"runs.parquet row 2: group column 'g' is empty"):
        read(path, group="g")
    points = list(with_columns(path, {"loss": np.zeros(3)}))
    whole = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1], pa.uint8()), ["a", "b"], ordered=ordered)
    assert read(parquet(tmp_path, g=whole), group="g").groups == ("a", "b")
    assert [row[:3] for row in points] == [
        ["N", "loss", "g"],
        ["1.0", "3.0", "a"],
        ["2.0", "2.0", ""],
        ["4.0", "1.5", "b"],
    ]


def test_categories_of_polars_may_be_missing(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    for kind in (pl.Categorical, pl.Enum(["a", "b"])):
        frame = pl.DataFrame(
            {"N": [1.0, 2.0, 4.0], "loss": [3.0, 2.0, 1.5], "g": pl.Series(["a", None, "b"], dtype=kind)}
        )
        frame.write_parquet(tmp_path / "runs.parquet")
        for data in (frame, tmp_path / "runs.parquet"):
            with pytest.raises(DataError, match="row 2: group column 'g' is empty"):
                read(data, group="g")


def test_whole_numbers_of_128_bits_are_refused_in_one_line(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"N": [1.0, 2.0], "loss": [3.0, 2.0], "i": pl.Series([1, 2], dtype=pl.Int128)})
    frame.write_parquet(tmp_path / "runs.parquet")
    with pytest.raises(DataError, match=r"columns that pyarrow cannot read .* cast such columns to 64 bits"):
        read(tmp_path / "runs.parquet")


@each(
    ("column", "wanted"),
    [
        (pa.array([1, 2, 4], pa.uint64()), [1, 2, 4]),
        (pa.array([decimal.Decimal("1.5"), decimal.Decimal("2"), decimal.Decimal("4")]), [1.5, 2, 4]),
        (pa.array([10**30, 2, 4], pa.decimal128(38, 0)), [1e30, 2, 4]),
        (pa.array([1.5, 2, 4], pa.float16()), [1.5, 2, 4]),
        (pa.array(["1K", "2K", "4K"], pa.large_string()), [1000, 2000, 4000]),
        (pa.DictionaryArray.from_arrays([1, 0, 1], pa.array([5, 7])), [7, 5, 7]),
        (pa.array([1, None, 4], pa.int64()), "row 2: column 'x' is empty"),
        (pa.array([None] * 3), "row 1: column 'x' is empty"),
        (pa.array([True, False, True]), "must be numbers, got true and false"),
        (pa.array([True, None, True]), "row 1: column 'x' must be a number, got 'True'"),
        (pa.array([[1], [2], [3]]), "row 1: column 'x' must be a number"),
        (pa.array([datetime.date(2024, 1, 1)] * 3), "must be numbers, got dates or times"),
        (pa.array([b"a"] * 3), "row 1: column 'x' must be a number"),
    ],
)
def test_columns_of_every_type_are_numbers_or_one_line(tmp_path: Path, column: Any, wanted: Any) -> None:
    path = parquet(tmp_path, x=column)
    if isinstance(wanted, str):
        with pytest.raises(DataError, match=wanted):
            read(path, covariate="x")
    else:
        assert read(path, covariate="x").column("x").tolist() == wanted


def test_structs_are_read_as_their_parts(tmp_path: Path) -> None:
    path = parquet(tmp_path, config=[{"lr": k / 10, "model": {"width": k}} for k in (1, 2, 3)])
    assert column_names(path) == ("N", "loss", "config.lr", "config.model.width")
    assert read(path, covariate="config.model.width").column("config.model.width").tolist() == [1, 2, 3]


# -- several files, pipes, types --------------------------------------------------------------------------------------


def test_a_folder_and_a_pattern_are_one_table(write: Write, tmp_path: Path) -> None:
    for k in range(3):
        write(f"runs/r{k}.csv", f"N,loss\n{k + 1},{9 - k}\n{k + 10},{5 - k}\n")
    write("runs/README.md", "about")
    write("runs/.hidden.csv", "x\n1\n")
    for data in (tmp_path / "runs", str(tmp_path / "runs" / "*.csv"), f"{tmp_path}/**/r[0-9].csv"):
        table = read(data, group="file")
        assert table.X[:, 0].tolist() == [1, 10, 2, 11, 3, 12] and table.groups == ("r0", "r1", "r2")
        assert table.notes == ("3 files were read as one table (r0.csv to r2.csv)",)
    assert as_task(str(tmp_path / "runs"), target="loss", scale="N").name == "runs"
    assert as_task(f"{tmp_path}/runs/*.csv", target="loss", scale="N").name == "runs"
    write("runs/r1.csv", "N,loss\n1,2\n2,\n")
    with pytest.raises(DataError, match=r"runs in r1.csv line 3: column 'loss' is empty"):
        read(tmp_path / "runs")


def test_files_of_one_table_have_the_same_columns_in_any_order_and_format(write: Write, tmp_path: Path) -> None:
    write("runs/a.csv", "N,loss\n1,9\n")
    write("runs/b.jsonl", '{"loss": 8, "N": 2}\n{"loss": 7, "N": 3}\n')
    assert read(tmp_path / "runs").X[:, 0].tolist() == [1, 2, 3]
    write("runs/c.csv", "N,los\n4,6\n")
    with pytest.raises(DataError, match=r"runs: a.csv has no column 'los', which c.csv has; files of one table"):
        read(tmp_path / "runs")
    with pytest.raises(DataError, match="no file matches"):
        read(str(tmp_path / "*.tsv"))


def test_a_task_folder_stays_a_task(write: Write, tmp_path: Path) -> None:
    write("mine/task.toml", 'name = "mine"\n[[variable]]\ncolumn = "N"\n[[target]]\ncolumn = "loss"\n')
    write("mine/train.csv", CSV)
    write("mine/held_out.csv", CSV)
    assert as_task(str(tmp_path / "mine")).train.n_rows == len(RECORDS)
    with pytest.raises(UsageError, match=r"'target' is for bare tables; .* task .*mine' are described by its card"):
        as_task(str(tmp_path / "mine"), target="loss", scale="N")
    with pytest.raises(DataError, match="is a task folder, not a table"):
        read(tmp_path / "mine")  # its held-out rows would be read as well


@each("name", ["runs.txt", "runs.xls", "runs.pkl", "runs.foo"])
def test_other_types_are_refused_with_those_that_are_read(write: Write, name: str) -> None:
    roles: dict[str, Any]
    for roles in ({}, {"target": "loss", "scale": "N"}):
        with pytest.raises(
            UsageError, match=r"cannot read \.\w+ files; a table is .csv, .tsv, .json, .jsonl, .parquet or"
        ):
            as_task(str(write(name, CSV)), **roles)
    with pytest.raises(UsageError, match="no file or task folder"):
        as_task("nowhere.foo", target="loss", scale="N")
    with pytest.raises(UsageError, match="no task 'nanolm_mo'; did you mean 'nanolm_moe'"):
        as_task("nanolm_mo", target="loss", scale="N")


def test_without_openpyxl_the_extra_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"reading a.xlsx needs openpyxl: pip install 'sld\[xlsx\]'"):
        read(write("a.xlsx", spreadsheet(SHEET)))


def test_sheets_and_keys_that_were_not_read_are_named(write: Write) -> None:
    assert read(write("a.xlsx", spreadsheet(SHEET, [], [["x"], [1]]))).notes == (
        "sheet 'Sheet' was read; 'Sheet2' was not",
    )
    assert read(write("a.json", json.dumps({"a": 1, "runs": RECORDS}))).notes == (
        "the records under 'runs' were read; 'a' was not",
    )


# -- what is written again --------------------------------------------------------------------------------------------


@each("name", ["runs.jsonl", "runs.csv.gz", "runs.xlsx", "columns.json", "bare_lines"])
def test_points_are_written_with_every_cell_as_it_was(write: Write, name: str) -> None:
    rows = list(with_columns(write(name, FORMS[name]), {"loss": np.arange(6.0)}))
    assert rows[0] == ["N", "loss", "g", "loss_predicted"]
    for row, record, k in zip(rows[1:], RECORDS, range(6), strict=True):
        assert (float(row[0]), float(row[1]), row[2], float(row[3])) == (record["N"], record["loss"], record["g"], k)


def test_points_of_several_files_say_where_they_are_from(write: Write, tmp_path: Path) -> None:
    write("points/a.csv", "N,x\n1M,é\n")
    write("points/b.csv", "x,N\n,2M\n")
    assert list(with_columns(tmp_path / "points", {"loss": np.array([3.0, 2.0])})) == [
        ["N", "x", "file", "loss"],
        ["1M", "é", "a", "3.0"],
        ["2M", "", "b", "2.0"],
    ]


def test_a_source_can_be_read_again() -> None:
    source = piped_source(gzip.compress(CSV.encode()))
    assert read(source).digest() == read(source).digest()
    assert open_source(source) is source


# -- tables that people have ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases of others are not part of the project")
def test_small_tables_of_others_are_read_or_refused_with_the_way_out() -> None:
    with pytest.raises(DataError, match=r"the first line looks like data .* is the header missing"):
        read(CASES / "no_header.csv", target="mH")
    runs = table_from(CASES / "runs.jsonl", target="final_val_loss", scale="size")
    assert runs.X[:, 0].tolist() == [1e6, 1e6, 4e6, 1.6e7]
    curves = table_from(CASES / "isoflops_curves.json", target="final_loss", scale=["parameters", "compute_budget"])
    assert curves.n_rows == len(json.loads((CASES / "isoflops_curves.json").read_text()))
    videos = table_from(CASES / "fvlm_run_summaries.csv", target="best_val_loss", scale="model_size")
    assert videos.X[0, 0] == 1.35e8 and "135M was read as 1.35e8" in videos.notes[0]
    wide = CASES / "wandb_export_wide.csv"
    with pytest.raises(DataError, match=r'--drop "Step==0".*--melt'):
        table_from(wide, target="14b", scale="Step")
    melted = table_from(wide, target="acc", scale="Step", group="run", melt=True, drop="Step==0")
    assert set(melted.groups) == {"0.6b", "14b", "8b", "4b", "1.7b"}
