"""Results of lm-evaluation-harness: folders of `results_*.json`, a model each.

Metrics come as `task/acc` and `task/acc_stderr`; the filter after the comma is named where it is not "none":
`gsm8k/exact_match,strict-match`. "N/A" is no value. Several results of one model are joined; the newest counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sld.core.errors import DataError
from sld.data.importers.attempt import Attempt, Cell, Folder, Unit, as_number, flat, read_object, run_name
from sld.data.importers.trainer import run_of_checkpoint

NAME = "lm-eval"
_FILE = re.compile(r"results.*\.json")
_MARK = b'"results"'
_NO_FILTER = "none"
_PATHS = ("pretrained", "path", "model", "peft")  # arguments of a model that say where it is


def claims(folder: Folder) -> list[Unit]:
    """Return each results file."""
    names = [n for n in folder.files if _FILE.fullmatch(n) and (folder.forced or _MARK in folder.head(n))]
    return [Unit(NAME, folder.path / name, (folder.path / name,)) for name in names]


def read(unit: Unit) -> list[Attempt]:
    """Return the metrics of a results file; raises DataError."""
    (file,) = unit.files
    document = read_object(file)
    results = document.get("results")
    if not isinstance(results, Mapping):
        raise DataError(f"{file} has no results by task")
    settings = document.get("config")
    settings = settings if isinstance(settings, Mapping) else {}
    path = _model_path(settings.get("model_args"))
    # model_name is random letters for a model without a name
    name = run_of_checkpoint(path) if path else _folder_name(file) or str(document.get("model_name", file.stem))
    versions = document.get("versions")
    config: dict[str, Cell] = {
        f"lm_eval.{k}": v for k, v in flat(settings) if k in ("limit", "num_fewshot", "batch_size")
    }
    config |= {f"version.{k}": v for k, v in flat(versions if isinstance(versions, Mapping) else {})}
    count = settings.get("model_num_parameters")
    if isinstance(count, int) and count > 0:
        config["model_num_parameters"] = count
    return [
        Attempt(
            id=f"lm-eval:{name}",
            name=name,
            place=str(file),
            config=config,
            summary=dict(_metrics(results)),
            state="finished",
            order=as_number(document.get("date")) or 0.0,
            notes=tuple(_limits(document, file)),
        )
    ]


def _metrics(results: Mapping[Any, Any]) -> Iterator[tuple[str, Cell]]:
    for task, values in results.items():
        for key, value in values.items() if isinstance(values, Mapping) else ():
            metric, comma, filter_name = str(key).partition(",")
            if not comma:  # alias, name, sample_len
                continue
            number = as_number(value)
            if number is not None:
                yield f"{task}/{metric}" + ("" if filter_name == _NO_FILTER else f",{filter_name}"), number


def _model_path(arguments: Any) -> str:
    if isinstance(arguments, str):
        pairs = [part.partition("=") for part in arguments.split(",")]
        arguments = {key.strip(): value for key, _, value in pairs}
    if isinstance(arguments, Mapping):
        for key in _PATHS:
            if isinstance(arguments.get(key), str) and arguments[key]:
                return str(arguments[key])
    return ""


def _folder_name(file: Path) -> str:
    """Return the model that the folder is named for: slashes of its path are double underscores there."""
    return run_name(Path(file.parent.name.replace("__", "/"))) if file.parent.name else ""


def _limits(document: Mapping[str, Any], file: Path) -> Iterator[str]:
    counts = document.get("n-samples")
    for task, n in counts.items() if isinstance(counts, Mapping) else ():
        if isinstance(n, Mapping) and n.get("effective") != n.get("original"):
            yield f"{file.name}: {task} was measured on {n.get('effective')} of {n.get('original')} samples"
