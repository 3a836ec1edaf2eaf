"""Stands in for W&B's client where it is not installed: has of it what `sld` uses, and answers from the same runs.

`test_collect_wandb_api.py` compares it with the real client, which asks `wandb_server.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest
from wandb_server import Served, Tracker


class Run:
    """A run as the client hands it out."""

    def __init__(self, tracker: Tracker, served: Served) -> None:
        self._tracker, self._served = tracker, served
        self.id, self.name, self.state = served.id, served.name, served.state
        self.config, self.summary_metrics = dict(served.config), dict(served.summary)
        self.group, self.job_type, self.sweep_name, self.tags = served.group, None, None, list(served.tags)
        self.created_at, self.heartbeat_at = served.created, served.heartbeat
        self.history_line_count = served.node(full=False)["historyLineCount"]
        self.history_keys = served.keys()

    def history(self, *_: object, **__: object) -> None:
        raise AssertionError("a sample of a history was asked for")

    def scan_history(
        self, keys: None = None, page_size: int = 1000, min_step: int = 0, *, use_cache: bool = True
    ) -> Iterator[Mapping[str, Any]]:
        assert keys is None and not use_cache
        self._tracker.asked("HistoryPage", {"run": self.id, "pageSize": page_size})
        return iter(self._served.sent)


class Api:
    """The client, logged in."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        tracker.asked("Viewer", {})

    def runs(self, path: str, *, order: str, include_sweeps: bool, lazy: bool) -> Iterator[Run]:
        assert order == "+created_at" and not include_sweeps and not lazy
        self._tracker.asked("Runs", {})
        if path not in self._tracker.projects:
            raise ValueError(f"Could not find project {path}")
        return (Run(self._tracker, served) for served in self._tracker.projects[path])

    def run(self, path: str) -> Run:
        project, _, name = path.rpartition("/")
        self._tracker.asked("Run", {})
        served = next((run for run in self._tracker.projects.get(project, ()) if run.id == name), None)
        if served is None:
            raise ValueError(f"Could not find run <Run {path} (not found)>")
        return Run(self._tracker, served)


def installed(tracker: Tracker, patch: pytest.MonkeyPatch) -> None:
    """Make `import wandb` give the stand-in."""
    module = ModuleType("wandb")
    module.Api = lambda timeout: Api(tracker)  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "wandb", module)
