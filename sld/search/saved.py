"""A discovery in its run folder, whole: what `sld report` and a later session in Python start from.

`law.json` has the law; `outcome.json` has what the choice rests on: the rows that were fitted, folds, runners-up,
verdict, counts. It is written last and names the law that it belongs to, so that half of one search is never told as
another.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from sld.core.arrays import Rows
from sld.core.errors import DataError, SldError, UsageError
from sld.core.files import write_text_atomic
from sld.data.splits import Fold
from sld.data.table import Table
from sld.laws.law import LAW_FILE, SINGLE_FILE, Law
from sld.search.candidates.candidate import Candidate
from sld.search.choosing.verdict import Verdict
from sld.search.outcome import Discovery
from sld.search.run_folder import OUTCOME, from_event, to_event

SCHEMA = 1  # of outcome.json; a file of a later one is refused
_AGAIN = "run the same sld discover command again: it takes the search up and writes what is missing"


def save_outcome(found: Discovery, folder: str | Path, about: Mapping[str, Any]) -> None:
    """Write outcome.json beside the law of a discovery.

    Args:
        found: The discovery; its law has been saved in the folder.
        folder: The run folder.
        about: What else is to come back, such as the card; in JSON's own types.

    Raises:
        UsageError: The file cannot be written.
    """
    folder = Path(folder)
    document = {
        "schema": SCHEMA,
        "law": _digest_of(folder / LAW_FILE),
        "about": dict(about),
        "rows": _rows(found.table),
        "folds": [{"name": f.name, "train": _ranges(f.train), "test": _ranges(f.test)} for f in found.folds],
        "chosen": _candidate(found.chosen),
        "best": None if found.best is None else _candidate(found.best),
        "front": [_candidate(c) for c in found.front],
        "hall_of_fame": [_candidate(c) for c in found.hall_of_fame],
        "verdict": {f.name: getattr(found.verdict, f.name) for f in fields(Verdict)},
        **{name: getattr(found, name) for name in _PLAIN},
    }
    text = json.dumps(_plain(document), ensure_ascii=False, allow_nan=False)
    write_text_atomic(folder / OUTCOME, text + "\n")


def load_outcome(folder: str | Path) -> tuple[Discovery, dict[str, Any]]:
    """Read a discovery from its run folder, and what was saved about it.

    Raises:
        UsageError: There is no such folder, or the search in it did not end.
        DataError: A file is not as it was written.
    """
    folder = Path(folder)
    law = Law.load(folder)  # says what is wrong with a folder that is none
    file = folder / OUTCOME
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "the search in it did not end, or an earlier version of sld wrote it"
        raise UsageError(f"{folder} has no {OUTCOME} ({what}); {_AGAIN}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}; {_AGAIN}") from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
        raise DataError(f"{file} is not an outcome of sld discover; {_AGAIN}")
    if data["schema"] > SCHEMA:
        raise DataError(f"{file} has schema {data['schema']}, newer than this sld reads ({SCHEMA}); upgrade sld")
    if data.get("law") != _digest_of(folder / LAW_FILE):
        raise UsageError(f"{file} is of another search than {LAW_FILE}; {_AGAIN}")
    try:
        return _discovery(data, law, folder), dict(data["about"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{file} is not as it was written ({error!r}); {_AGAIN}") from error


# fields of a discovery that are JSON already
_PLAIN = ("counts", "seconds", "n_fits", "interrupted", "noise", "notes", "config", "llm")


def _discovery(data: Mapping[str, Any], law: Law, folder: Path) -> Discovery:
    table = _table(data["rows"], law)
    single = folder / SINGLE_FILE
    plain: dict[str, Any] = {name: tuple(data[name]) if name == "notes" else data[name] for name in _PLAIN}
    return Discovery(
        law=law,
        chosen=_candidate_from(data["chosen"], table),
        front=tuple(_candidate_from(c, table) for c in data["front"]),
        hall_of_fame=tuple(_candidate_from(c, table) for c in data["hall_of_fame"]),
        folds=tuple(Fold(f["name"], _numbers(f["train"]), _numbers(f["test"])) for f in data["folds"]),
        table=table,
        verdict=_verdict(data["verdict"]),
        single=Law.load(single) if data["best"] is not None and single.exists() else None,
        best=None if data["best"] is None else _candidate_from(data["best"], table),
        **plain,
    )


def _rows(table: Table) -> dict[str, Any]:
    return {
        "digest": table.digest(),
        "X": table.X.T.tolist(),
        "Y": table.Y.T.tolist(),
        "groups": list(table.groups),
        "group_index": table.group_index.tolist() if len(table.groups) > 1 else None,
        "group_column": table.group_column,
        "own_shares": list(table.own_shares),
        "weights": None if table.weights is None else table.weights.tolist(),
        "yerr": None if table.yerr is None else table.yerr.T.tolist(),
        "runs": list(table.runs),
        "run_index": table.run_index.tolist(),
        "run_column": table.run_column,
        "weights_column": table.weights_column,
        "notes": list(table.notes),
        **({} if table.aim is None else {"aim": _planned(table.aim, table)}),
    }


def _planned(aim: Table, table: Table) -> dict[str, Any]:
    columns = [aim.column(v.symbol).tolist() for v in table.variables]
    return {"X": columns, "groups": list(aim.groups), "group_index": aim.group_index.tolist()}


def _table(rows: Mapping[str, Any], law: Law) -> Table:
    X = np.array(rows["X"], dtype=np.float64).T.reshape(-1, len(law.variables))
    n = len(X)
    index = np.zeros(n, dtype=np.intp) if rows["group_index"] is None else np.array(rows["group_index"], dtype=np.intp)
    # a standard error that is not known was written as null
    yerr = None if rows["yerr"] is None else np.array(rows["yerr"], dtype=np.float64).T
    table = Table(
        variables=law.variables,
        targets=law.targets,
        X=X,
        Y=np.array(rows["Y"], dtype=np.float64).T.reshape(-1, len(law.targets)),
        groups=tuple(rows["groups"]),
        group_index=index,
        notes=tuple(rows["notes"]),
        group_column=rows["group_column"],
        own_shares=tuple(rows["own_shares"]),
        weights=None if rows["weights"] is None else np.array(rows["weights"], dtype=np.float64),
        yerr=yerr,
        runs=tuple(rows["runs"]),
        run_index=np.array(rows["run_index"], dtype=np.intp),
        run_column=rows["run_column"],
        weights_column=rows["weights_column"],
    )
    if table.digest() != rows["digest"]:
        raise ValueError("the rows have another digest")
    return table if "aim" not in rows else replace(table, aim=_aim(rows["aim"], table))


def _aim(rows: Mapping[str, Any], table: Table) -> Table:
    X = np.array(rows["X"], dtype=np.float64).T.reshape(-1, len(table.variables))
    index = np.array(rows["group_index"], dtype=np.intp)
    return Table(
        table.variables, (), X, np.empty((len(X), 0)), tuple(rows["groups"]), index, group_column=table.group_column
    )


def _candidate(candidate: Candidate) -> dict[str, Any]:
    judged = candidate.judgements
    beside = {"consensus": [j.consensus for j in judged], "effective": [j.effective for j in judged]}
    return {**to_event(0, candidate, 0, 0.0), **beside}


def _candidate_from(data: Mapping[str, Any], table: Table) -> Candidate:
    try:
        candidate, _ = from_event(data, table)
    except SldError as error:
        raise ValueError(str(error)) from error
    beside = zip(candidate.judgements, data["consensus"], data["effective"], strict=True)
    return replace(candidate, judgements=tuple(replace(j, consensus=n, effective=e) for j, n, e in beside))


def _verdict(data: Mapping[str, Any]) -> Verdict:
    def known(value: Any) -> float:
        return math.nan if value is None else float(value)

    numbers = {name: known(data[name]) for name in ("p_value", "versus_mean", "versus_nearest")}
    return Verdict(
        kind=data["kind"],
        reasons=tuple(data["reasons"]),
        p_values=tuple(known(p) for p in data["p_values"]),
        reach={s: known(v) for s, v in data["reach"].items()},
        edge={s: known(v) for s, v in data["edge"].items()},
        by_group={g: {s: known(v) for s, v in by.items()} for g, by in data["by_group"].items()},
        edges={g: {s: known(v) for s, v in by.items()} for g, by in data["edges"].items()},
        down={s: known(v) for s, v in data.get("down", {}).items()},
        start={s: known(v) for s, v in data.get("start", {}).items()},
        down_by_group={g: {s: known(v) for s, v in by.items()} for g, by in data.get("down_by_group", {}).items()},
        missing=data["missing"],
        planned=data.get("planned", ""),
        **numbers,
    )


def _ranges(rows: Rows) -> list[list[int]]:
    """Return ascending row numbers as ranges [first, last]: folds of long tables are a few of these."""
    if not len(rows):
        return []
    breaks = np.flatnonzero(np.diff(rows) != 1)
    firsts, lasts = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(rows) - 1]])
    return [[int(rows[a]), int(rows[b])] for a, b in zip(firsts, lasts, strict=True)]


def _numbers(ranges: Sequence[Sequence[int]]) -> Rows:
    parts = [np.arange(first, last + 1, dtype=np.intp) for first, last in ranges]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)


def _digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    """Return `value` in JSON's own types; what is not finite becomes None, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
