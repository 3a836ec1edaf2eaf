"""Hugging Face Trainer: `trainer_state.json` of the newest checkpoint, and `config.json` beside it.

`training_args.bin` is a pickle, which would run code of whoever made it; it is not opened. A loss of exactly 0.0 is
how the Trainer writes NaN (`logging_nan_inf_filter`), and comes back as NaN. `train_loss` is the mean since the last
resume.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sld.core.errors import DataError
from sld.data.importers.attempt import (
    Attempt,
    Cell,
    Folder,
    Rows,
    State,
    Unit,
    as_number,
    beside,
    flat,
    read_object,
    run_name,
)

NAME = "trainer"
STATE_FILE = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_SETTINGS = ("config.json", "training_args.json", "adapter_config.json")
_STATE_SETTINGS = ("max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps")
_TOTALS = ("train_loss", "train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")


def claims(folder: Folder) -> list[Unit]:
    """Return the output folder of a training, with the state of its newest checkpoint."""
    states = [folder.path / STATE_FILE] if STATE_FILE in folder.files else []
    numbers = sorted(int(m[1]) for name in folder.folders if (m := _CHECKPOINT.fullmatch(name)))
    below = [folder.path / f"checkpoint-{n}" for n in numbers]
    states += [place / STATE_FILE for place in below if (place / STATE_FILE).is_file()]
    if not states:
        return []
    places = [folder.path, *reversed(below)]
    settings = next((found for place in places if (found := beside(place, _SETTINGS))), [])
    return [Unit(NAME, folder.path, (*states, *settings), whole=True)]


def read(unit: Unit) -> list[Attempt]:
    """Return the run; raises DataError where no state of it can be read."""
    states, notes = [], []
    for file in unit.files:
        if file.name == STATE_FILE:
            try:
                state = read_object(file)
                if not isinstance(state.get("log_history"), list):
                    raise DataError(f"{file} has no log_history")
                states.append(state)
            except DataError as error:
                notes.append(str(error))
    if not states:
        raise DataError(notes[0])
    newest = max(states, key=lambda state: as_number(state.get("global_step")) or 0)
    config: dict[str, Cell] = {k: newest[k] for k in _STATE_SETTINGS if isinstance(newest.get(k), int | float)}
    for file in unit.files:
        if file.name != STATE_FILE:
            try:
                config.update(dict(flat(read_object(file))))
            except DataError as error:
                notes.append(str(error))
    rows = Rows()
    zeros = 0
    summary: dict[str, Cell] = {}
    for entry in newest["log_history"]:
        if not isinstance(entry, Mapping) or (step := as_number(entry.get("step"))) is None:
            continue
        zeros += entry.get("loss") == 0 and not isinstance(entry["loss"], bool)
        summary.update({k: entry[k] for k in _TOTALS if isinstance(entry.get(k), int | float)})
        rows.add(step, ((k, v) for k, v in _metrics(entry)))
    if zeros:
        notes.append(f"a training loss of 0.0 in {zeros} entries, which is how the Trainer writes NaN; read as NaN")
    summary |= {k: newest[k] for k in ("total_flos",) if isinstance(newest.get(k), int | float)}
    place = unit.base.parent if _CHECKPOINT.fullmatch(unit.base.name) else unit.base
    name = run_name(place, unit.root)
    return [
        Attempt(
            id=str(unit.base),
            name=name,
            place=str(unit.base),
            config=config,
            series=rows.series(),
            summary=summary,
            state=_state(newest),
            notes=tuple(notes),
        )
    ]


def _metrics(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in entry.items():
        if key in ("step", *_TOTALS):
            continue
        if key == "num_input_tokens_seen" and value == 0:
            continue  # not counted unless asked for
        if key == "loss" and value == 0 and not isinstance(value, bool):
            value = math.nan
        yield str(key), value


def _state(state: Mapping[str, Any]) -> State:
    """Return whether the training went to its end; a finished one that is resumed goes one step further."""
    done, planned = as_number(state.get("global_step")), as_number(state.get("max_steps"))
    if done is None or planned is None or planned <= 0:
        return "unknown"
    return "finished" if done >= planned else "unfinished"


def run_of_checkpoint(path: str) -> str:
    """Return the run that a path of a model belongs to: `out/size-1/checkpoint-100` is of `size-1`."""
    place = Path(path.rstrip("/\\"))
    return run_name(place.parent if _CHECKPOINT.fullmatch(place.name) and place.parent.name else place)
