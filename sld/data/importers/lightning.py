"""Lightning's CSV logs: `metrics.csv` with `hparams.yaml` in a folder `version_N`.

Training and validation metrics stand in rows of their own; what a row lacks is empty. `step` counts batches from zero:
the row with step 9 was written when ten steps were done. Resuming into the same version deletes the file.
"""

from __future__ import annotations

import re

from sld.core.errors import DataError
from sld.data.importers.attempt import Attempt, Folder, Unit, read_text, run_name
from sld.data.importers.sheet import Origin, attempts_of, sheet_of, step_column
from sld.data.importers.simple_yaml import settings_of

NAME = "lightning"
_METRICS, _SETTINGS = "metrics.csv", "hparams.yaml"
_VERSION = re.compile(r"version_(\d+)")


def claims(folder: Folder) -> list[Unit]:
    """Return a version's folder."""
    if _METRICS not in folder.files:
        return []
    if not (folder.forced or _SETTINGS in folder.files or _VERSION.fullmatch(folder.path.name)):
        return []
    files = [folder.path / name for name in (_METRICS, _SETTINGS) if name in folder.files]
    return [Unit(NAME, folder.path, tuple(files), whole=True)]


def read(unit: Unit) -> list[Attempt]:
    """Return the run of a version; raises DataError."""
    from dataclasses import replace

    sheet = sheet_of(unit.files[0])
    step = step_column(sheet.names)
    if step is None:
        raise DataError(f"{unit.files[0]} has no column of steps; it has {', '.join(sheet.names[:8])}")
    config, notes = {}, list[str]()
    if sheet.torn:
        notes.append(f"{unit.files[0].name} of {unit.base.name}: the last line is cut off and was left out")
    for file in unit.files[1:]:
        try:
            config = settings_of(read_text(file))
        except DataError as error:
            notes.append(str(error))
    version = _VERSION.fullmatch(unit.base.name)
    origin = Origin(str(unit.base), run_name(unit.base, unit.root), str(unit.base), config, tuple(notes))
    found = attempts_of(sheet.rows, step, origin)
    # the next version of one folder comes after this one
    return [replace(a, order=a.order + 1000.0 * int(version[1])) for a in found] if version else found
