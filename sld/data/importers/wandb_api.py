"""Runs on a W&B server, read with W&B's own client: `wandb://ENTITY/PROJECT`, or `wandb://ENTITY/PROJECT/RUN_ID`.

Whole histories are read, which takes some care. `history()` of the client is a sample of 500 points. `scan_history()`
has all of them, but with `keys` only those rows that have every key; it takes exported rows from a file that it kept
under the run's id, without a look whether the run has changed since; and it asks for ranges of steps, not for numbers
of rows, so that a run whose steps are tokens takes millions of requests. The key is the client's affair: it takes it
from WANDB_API_KEY or from where `wandb login` has put it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sld.core.errors import DataError, SldError, UsageError
from sld.core.numbers import exact
from sld.data.importers.attempt import Attempt, Cell, Folder, Unit, Unreachable, as_number, flat
from sld.data.importers.wandb import STATES, curves

NAME = "wandb-api"
SCHEME = "wandb://"
MISSING_CLIENT = "reading runs from W&B needs its client: pip install 'sld[wandb]'"

_PATIENCE = 30  # seconds for a page of runs with their settings; the client's own 19 are few for a slow server
_PAGE = 1000  # steps of a request for history, as the client has it
_MOST_PAGES = 20  # requests beyond one for every thousand rows; then pages are made longer
_LONGEST_PAGE = 2**31 - 1  # it is sent as an Int of GraphQL
_ENDED = ("finished", "crashed", "failed", "killed")  # states in which a run that stays the same may be kept
_OWN = "_"  # begins the metrics that the client adds itself

# what the client says, in words that it has used for years, and what it means
_NO_LOGIN = re.compile(r"no api key|no authentication|wandb login")
_TOO_MANY = re.compile(r"(?:http|error|status)\W{0,3}429|rate.?limit|too many requests")
_NO_ANSWER = re.compile(
    r"did not respond|giving up after|timed? ?out|service process|connection (?:refused|reset)|no such host|dial tcp"
)
_NO_SUCH = re.compile(r"could not find (?:project|run)")
_BAD_KEY = re.compile(r"(?:error|http) 401|unauthori[sz]ed|credentials|api[_ ]key")


def claims(_folder: Folder) -> list[Unit]:
    """Return nothing: no file is a reason to ask a server."""
    return []


def listed(source: str) -> list[Unit]:
    """Return the runs of a project, or the one that is named.

    Raises:
        UsageError: The text is no address, the client is not installed or not logged in.
        DataError: There is no such project or run.
        Unreachable: The server does not answer.
    """
    entity, project, run_id = _parts(source)
    path = f"{entity}/{project}"
    api = _client()
    with _asking(f"{path}/{run_id}" if run_id else path):
        if run_id:
            runs = [api.run(f"{path}/{run_id}")]
        else:
            runs = list(api.runs(path, order="+created_at", include_sweeps=False, lazy=False))
    if not runs:
        raise DataError(f"{SCHEME}{path} has no runs")
    return [_unit(path, run) for run in runs]


def _parts(source: str) -> tuple[str, str, str]:
    parts = source.removeprefix(SCHEME).rstrip("/").split("/")
    if len(parts) == 4 and parts[2] == "runs":  # as in the address of a run's page
        del parts[2]
    if len(parts) not in (2, 3) or not all(part.strip() == part and part for part in parts):
        raise UsageError(f"wanted {SCHEME}ENTITY/PROJECT or {SCHEME}ENTITY/PROJECT/RUN_ID, got {source!r}")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def _client() -> Any:
    """Return W&B's client, logged in. Nobody is asked for a key: a question would wait for ever in a script."""
    try:
        import wandb
    except ImportError:
        raise UsageError(MISSING_CLIENT) from None
    if not hasattr(wandb, "Api"):  # without the client, Python takes the folder wandb/ of runs for a package
        raise UsageError(MISSING_CLIENT)
    before = sys.stdin
    with open(os.devnull, encoding="utf-8") as nobody, _asking("your login"):
        sys.stdin = nobody
        try:
            return wandb.Api(timeout=_PATIENCE)
        finally:
            sys.stdin = before


@contextlib.contextmanager
def _asking(what: str) -> Iterator[None]:
    """Turn what the client raises into one line that says what it means."""
    try:
        yield
    except SldError:
        raise
    except Exception as error:  # noqa: BLE001 - the client's exceptions have no common ancestor that is public
        raise _refusal(" ".join(str(error).split()) or type(error).__name__, what) from None


def _refusal(said: str, what: str) -> SldError:
    low = said.casefold()
    if _NO_LOGIN.search(low):
        return UsageError("you are not logged in to W&B: run `wandb login`, or set WANDB_API_KEY")
    if _NO_SUCH.search(low):
        return DataError(f"W&B has no {what}, or you may not see it; check the names and your login")
    if _TOO_MANY.search(low):
        return Unreachable("W&B's server wants fewer requests (rate limit); try again in some minutes")
    if _NO_ANSWER.search(low):
        # of a time that ran out the client only says that its own process is busy
        why = "" if "did not respond" in low else f" ({said[:200]})"
        return Unreachable(f"W&B's server does not answer: no network, or it is down or overloaded{why}")
    if _BAD_KEY.search(low):
        return UsageError(f"W&B does not accept your key: {said[:200]}")
    return DataError(f"W&B does not hand out {what}: {said[:200]}")


def _unit(path: str, run: Any) -> Unit:
    address = f"{SCHEME}{path}/{run.id}"
    return Unit(NAME, Path(run.id), (), address=address, stamp=_stamp(run), handle=run)


def _stamp(run: Any) -> str:
    """Return a digest of all that the list of runs says of a run; nothing while it runs."""
    if run.state not in _ENDED:
        return ""
    names = ("id", "name", "state", "group", "job_type", "tags", "created_at", "heartbeat_at", "history_line_count")
    said = [getattr(run, name, None) for name in names]
    text = json.dumps([*said, _last_step(run), run.config, _summary(run)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _summary(run: Any) -> Mapping[str, Any]:
    found = getattr(run, "summary_metrics", None)
    return found if isinstance(found, Mapping) else {}


def _last_step(run: Any) -> float:
    keys = getattr(run, "history_keys", None)
    return (as_number(keys.get("lastStep")) if isinstance(keys, Mapping) else None) or 0.0


def read(unit: Unit) -> list[Attempt]:
    """Return the run of a unit, with every row of its history; raises DataError, Unreachable."""
    run = unit.handle
    lines = as_number(getattr(run, "history_line_count", None)) or 0.0
    with _asking(unit.address.removeprefix(SCHEME)):
        rows = list(run.scan_history(page_size=_page_size(_last_step(run), lines), use_cache=False))
    notes: tuple[str, ...] = ()
    if len(rows) < lines and run.state in _ENDED:
        notes = (f"{run.name or run.id}: W&B counts {exact(lines)} rows and sent {len(rows)}; points may be missing",)
    series = curves([(step, dict(_metrics(row))) for row in rows if (step := as_number(row.get("_step"))) is not None])
    return [
        Attempt(
            id=run.id,
            name=run.name or run.id,
            place=unit.address,
            config=_settings(run),
            series=series,
            summary={
                key: value
                for name, item in _summary(run).items()
                if not name.startswith(_OWN) and not (isinstance(item, Mapping) and "_type" in item)
                for key, value in flat({name: item})
                if key not in series
            },
            state=STATES.get(str(run.state).casefold(), "unknown"),
            order=_time(getattr(run, "created_at", None)),
            notes=notes,
        )
    ]


def _page_size(last: float, lines: float) -> int:
    """Return how many steps are asked for at once: a thousand, more where steps are far apart.

    >>> _page_size(50_000, 50_001), _page_size(1e9, 2000)
    (1000, 45454546)
    """
    most = math.ceil(lines / _PAGE) + _MOST_PAGES
    return min(max(_PAGE, math.ceil((last + 1) / most)), _LONGEST_PAGE)


def _metrics(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in a row; nested ones by `outer.inner`, as exported rows have them too."""
    for key, value in row.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            if "_type" not in value:  # histograms, images, tables
                yield from _metrics(value, name)
        elif (number := as_number(value)) is not None:
            yield name, number


def _settings(run: Any) -> dict[str, Cell]:
    """Return the settings of a run, and what it was filed under: `wandb.group`, `wandb.tags` and the like."""
    config = dict(flat(run.config))
    filed = {
        "group": getattr(run, "group", None),
        "job_type": getattr(run, "job_type", None),
        "sweep": getattr(run, "sweep_name", None),
        "tags": ", ".join(sorted(map(str, getattr(run, "tags", None) or ()))),
    }
    return {**config, **{f"wandb.{name}": str(value) for name, value in filed.items() if value}}


def _time(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
