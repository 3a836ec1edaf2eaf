"""A W&B server on loopback: speaks the queries that the client (wandb 0.31.0) sends when runs are read over its API.

Not the hosted service: what the client asks for was recorded, and this answers it. `POST /graphql` with the queries
Viewer and GetDefaultEntity (who am I), Runs (a page of a project's runs), Run (one), RunHistoryKeys (the last step),
RunParquetHistory (addresses of exported files and what is not in them yet) and HistoryPage (rows of a range of steps);
`GET /parquet/...` is the storage of the exported files. It misbehaves on demand.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef" * 2 + "01234567"  # made up; the client wants 40 characters


@dataclass
class Served:
    """A run as the server knows it: `rows` hold `_step`, the first `exported` of them lie in a Parquet file."""

    id: str
    name: str
    state: str = "finished"
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    tags: Sequence[str] = ()
    group: str | None = None
    created: str = "2026-01-01T00:00:00"
    heartbeat: str = "2026-01-02T00:00:00"
    exported: int = 0
    lost: int = 0  # of the last rows that are counted and not sent

    @property
    def sent(self) -> Sequence[Mapping[str, Any]]:
        return self.rows[: len(self.rows) - self.lost]

    def node(self, full: bool) -> dict[str, Any]:
        wrapped = {key: {"desc": None, "value": value} for key, value in self.config.items()}
        light = {
            "id": base64.b64encode(f"Run:v1:{self.id}".encode()).decode(), "projectId": "1", "name": self.id,
            "displayName": self.name, "tags": list(self.tags), "sweepName": None, "state": self.state,
            "group": self.group, "jobType": None, "commit": None, "readOnly": False, "createdAt": self.created,
            "heartbeatAt": self.heartbeat, "description": "", "notes": None,
            "historyLineCount": len(self.rows),
            "user": {"name": "Me", "username": "me"},
        }  # fmt: skip
        if not full:
            return light
        heavy = {"config": json.dumps(wrapped), "systemMetrics": "{}", "summaryMetrics": json.dumps(self.summary)}
        return {**light, **heavy, "historyKeys": self.keys()}

    def keys(self) -> dict[str, Any]:
        return {"lastStep": max((row["_step"] for row in self.rows), default=-1), "keys": {}, "sets": []}


@dataclass
class Tracker:
    """The server's state.

    Attributes:
        projects: "ENTITY/PROJECT" to its runs, oldest first.
        page: Runs of a page, whatever the client asks for.
        answers: Name of a query to (status, headers, document) sent instead of an answer.
        fails: Called with each query, to raise what the client would.
        requests: Names of the queries as they came.
        variables: What came with them.
    """

    projects: dict[str, list[Served]]
    page: int = 50
    answers: dict[str, tuple[int, dict[str, str], Any]] = field(default_factory=dict)
    fails: Callable[[str, Mapping[str, Any]], None] = lambda name, variables: None
    requests: list[str] = field(default_factory=list)
    variables: list[Mapping[str, Any]] = field(default_factory=list)
    url: str = ""

    def asked(self, name: str, variables: Mapping[str, Any]) -> None:
        self.requests.append(name)
        self.variables.append(variables)
        self.fails(name, variables)

    def run(self, variables: Mapping[str, Any]) -> Served | None:
        name = variables.get("name") or variables.get("run") or variables.get("runName")
        runs = self.projects.get(f"{variables['entity']}/{variables['project']}", ())
        return next((run for run in runs if run.id == name), None)


def answer(tracker: Tracker, query: str, variables: Mapping[str, Any]) -> Any:
    """Return the data of an answer."""
    name = query_name(query)
    if name in ("Viewer", "GetDefaultEntity"):
        edges: dict[str, Any] = {"edges": []}
        return {"viewer": {"id": "u", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": edges}}
    if f"{variables['entity']}/{variables['project']}" not in tracker.projects:
        return {"project": None}
    if name == "Runs":
        return {"project": runs_of(tracker, variables, full="config" in query)}
    run = tracker.run(variables)
    if run is None:
        return {"project": {"run": None}}
    found: dict[str, Any] = {}
    if name == "Run":
        found = run.node(full="config" in query)
    elif name == "RunHistoryKeys":
        found = {"historyKeys": run.keys()}
    elif name == "RunParquetHistory":
        urls = [f"{tracker.url}/parquet/{run.id}.parquet"] if run.exported else []
        live = [{"_step": row["_step"]} for row in run.rows[run.exported :]]
        found = {"parquetHistory": {"parquetUrls": urls, "liveData": live}}
    elif name == "HistoryPage":
        low, high, most = (int(variables[key]) for key in ("minStep", "maxStep", "pageSize"))
        rows = [row for row in run.sent[run.exported :] if low <= row["_step"] < high]
        found = {"history": [json.dumps(row) for row in rows[:most]]}
    return {"project": {"run": found}}


def runs_of(tracker: Tracker, variables: Mapping[str, Any], full: bool) -> dict[str, Any]:
    runs = tracker.projects[f"{variables['entity']}/{variables['project']}"]
    start = int(variables.get("cursor") or 0)
    end = min(start + min(int(variables["perPage"]), tracker.page), len(runs))
    edges = [{"node": runs[k].node(full), "cursor": str(k + 1)} for k in range(start, end)]
    info = {"endCursor": str(end), "hasNextPage": end < len(runs)}
    return {
        "internalId": "1", "runCount": len(runs), "readOnly": False, "runs": {"edges": edges, "pageInfo": info},
    }  # fmt: skip


def query_name(query: str) -> str:
    found = re.search(r"(?:query|mutation)\s+(\w+)", query)
    return found[1] if found else ""


def parquet(run: Served) -> bytes:
    """Return the exported rows of a run as a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = run.rows[: run.exported]
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.BytesIO()
    columns = {name: [row.get(name) for row in rows] for name in names}
    numbers = {
        name: [float(cell) if isinstance(cell, str) else cell for cell in cells] for name, cells in columns.items()
    }
    pq.write_table(pa.table(numbers), buffer)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def tracker(self) -> Tracker:
        tracker = self.server.tracker  # type: ignore[attr-defined]
        assert isinstance(tracker, Tracker)
        return tracker

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        found = re.match(r"/parquet/(\w+)\.parquet", self.path)
        self.tracker.requests.append("GET " + self.path)
        runs = [run for runs in self.tracker.projects.values() for run in runs if found and run.id == found[1]]
        self.send(200, parquet(runs[0]), {}) if runs else self.send(404, b"", {})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/graphql":  # what the client tells of itself
            self.tracker.requests.append(self.path)
            return self.send(200, b"", {})
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        asked = json.loads(data)
        name, variables = query_name(asked["query"]), asked.get("variables") or {}
        self.tracker.asked(name, variables)
        if name in self.tracker.answers:
            status, headers, document = self.tracker.answers[name]
        else:
            status, headers, document = 200, {}, {"data": answer(self.tracker, asked["query"], variables)}
        self.send(status, json.dumps(document).encode(), headers)

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError | ValueError):
            super().handle_error(request, client_address)


def scenario() -> list[Served]:
    """Return the runs of the scenario as the server knows them: a resume goes on in the run, and `_step` counts on."""
    from scenario import RUNS, recordings

    found = []
    for number, run in enumerate(RUNS):
        parts = [(part, step) for part in recordings() if part.number == number for step in part.steps]
        rows = [
            {"_step": k, "_timestamp": 1.7e9 + k, "_runtime": 1.0 * k, "global_step": step, **part.metrics(step, spelt)}
            for k, (part, step) in enumerate(parts)
        ]
        state = "crashed" if run.stops_at else "finished"
        found.append(
            Served(
                f"run{number}",
                run.name,
                state,
                run.config(),
                rows[-1],
                rows,
                created=f"2026-01-0{number + 1}T00:00:00",
                exported=len(rows) // 2 if number % 2 else 0,
                group=f"seed-{run.seed}",
                tags=("ladder",),
            )
        )
    return found


def spelt(value: float) -> Any:
    """Return a number as W&B sends it: JSON has no word for what is not finite."""
    return value if math.isfinite(value) else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]


@contextmanager
def serving(tracker: Tracker) -> Iterator[Tracker]:
    """Serve on a free port of loopback; `tracker.url` is what WANDB_BASE_URL has to be."""
    server = Server(("127.0.0.1", 0), Handler)
    server.tracker = tracker  # type: ignore[attr-defined]
    tracker.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield tracker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
