"""Optuna's SQLite storage: a trial is a run, its parameters are settings, its intermediate values a curve.

Tables: `trials`, `trial_values`, `trial_params`, `trial_intermediate_values`, `trial_user_attributes`
(github.com/optuna/optuna, `optuna/storages/_rdb/models.py`). A pruned trial has a row in `trial_values` too, its last
report, so the state decides and not the value. A trial whose result was NaN is FAIL. Of two reports of one step the
first counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from sld.core.errors import DataError
from sld.data.importers import database
from sld.data.importers.attempt import Attempt, Cell, Folder, Rows, State, Unit, plain

NAME = "optuna"
VALUE = "value"  # of a trial
REPORTS = "intermediate_value"  # the curve of what it reported along the way
_STATES: Mapping[str, State] = {
    "COMPLETE": "finished", "PRUNED": "unfinished", "RUNNING": "unfinished", "WAITING": "unfinished",
    "FAIL": "unfinished",
}  # fmt: skip
_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


def claims(folder: Folder) -> list[Unit]:
    """Return the databases of Optuna."""
    return [Unit(NAME, path, (path,)) for path in database.databases(folder, b"studies", b"trials")]


def read(unit: Unit) -> list[Attempt]:
    """Return the trials of all studies; raises DataError."""
    path = unit.base
    with database.opened(path, "Optuna") as connection:
        studies = dict(connection.execute("SELECT study_id, study_name FROM studies").fetchall())
        if not studies:
            raise DataError(f"{path} has no study of Optuna in it")
        query = "SELECT trial_id, number, study_id, state FROM trials ORDER BY study_id, number"
        trials = connection.execute(query).fetchall()
        params = connection.execute(
            "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params"
        ).fetchall()
        attributes = connection.execute("SELECT trial_id, key, value_json FROM trial_user_attributes").fetchall()
        values = connection.execute("SELECT trial_id, objective, value, value_type FROM trial_values").fetchall()
        reports = connection.execute(
            "SELECT trial_id, step, intermediate_value, intermediate_value_type FROM trial_intermediate_values "
            "ORDER BY step"
        ).fetchall()
    settings = _settings(params, attributes)
    curves: dict[Any, Rows] = {}
    for trial, step, value, kind in reports:
        curves.setdefault(trial, Rows()).add(float(step), [(REPORTS, _number(value, kind))])
    several = max((objective for _, objective, _, _ in values), default=0) > 0
    results: dict[Any, dict[str, Cell]] = {}
    for trial, objective, value, kind in values:
        results.setdefault(trial, {})[f"{VALUE}_{objective}" if several else VALUE] = _number(value, kind)
    for trial, _, _, state in trials:
        curve = curves[trial].series()[REPORTS].values.tolist() if trial in curves else []
        if state == "FAIL" and curve and not math.isfinite(curve[-1]):
            results[trial] = {VALUE: math.nan}  # Optuna takes no NaN as a result, and calls the trial failed
    return [
        Attempt(
            id=f"{studies.get(study, study)}:{number}",
            name=str(settings.get(trial, {}).get("run") or f"{studies.get(study, study)}-{number}"),
            place=f"{path}, trial {number} of {studies.get(study, study)}",
            config=settings.get(trial, {}),
            series=curves[trial].series() if trial in curves else {},
            # of a trial that did not complete it is the last report, not a result
            summary=results.get(trial, {}) if state in ("COMPLETE", "FAIL") else {},
            state=_STATES.get(str(state), "unknown"),
            order=float(number or 0),
        )
        for trial, number, study, state in trials
    ]


def _number(value: Any, kind: Any) -> float:
    return _INFINITE[kind] if kind in _INFINITE else math.nan if value is None else float(value)


def _settings(params: Iterable[tuple[Any, ...]], attributes: Iterable[tuple[Any, ...]]) -> dict[Any, dict[str, Cell]]:
    found: dict[Any, dict[str, Cell]] = {}
    for trial, name, value, distribution in params:
        found.setdefault(trial, {})[str(name)] = _parameter(value, distribution)
    for trial, key, value in attributes:
        found.setdefault(trial, {})[str(key)] = plain(json.loads(value))
    return found


def _parameter(value: Any, distribution: Any) -> Cell:
    """Return a parameter: of a categorical one the database has the position of the choice."""
    described = json.loads(distribution) if distribution else {}
    attributes = described.get("attributes", {})
    choices = attributes.get("choices")
    if isinstance(choices, list) and value is not None and 0 <= int(value) < len(choices):
        return plain(choices[int(value)])
    whole = "Int" in str(described.get("name", "")) and value is not None
    return int(value) if whole else None if value is None else float(value)
