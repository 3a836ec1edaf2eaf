"""The child process that does the work of one call after another: JSON lines in, JSON lines out.

A job: `{"verb": name, "arguments": {...}}`. While it works, `{"progress": 0.5, "message": "..."}`; at the end
`{"text": "...", "data": {...}}`, or `{"error": "one line"}`. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, Any

from sld.core.errors import SldError

_PROGRESS_EVERY_S = 0.3
_LOOK_EVERY_S = 0.5  # for whether the server is still there
_LONGEST_ERROR = 1000  # letters; a message may repeat a formula of any length


def main(arguments: Sequence[str]) -> None:
    """Answer jobs until stdin ends.

    Args:
        arguments: How many bytes this process may have, 0 for any number; folders with tasks that go by a name.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _limit_memory(int(arguments[0]))
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    for folder in arguments[1:]:
        from sld.data.bundled import add_tasks_root

        add_tasks_root(folder)
    for line in sys.stdin:
        _say(answers, _answer(json.loads(line), answers))


def _follow(server: int) -> None:
    """End this process with the server: one that is killed outright cannot end its workers."""
    while os.getppid() == server:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


def _limit_memory(n_bytes: int) -> None:
    if not n_bytes:
        return
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _answer(job: dict[str, Any], answers: IO[str]) -> dict[str, Any]:
    last = 0.0

    def progress(share: float, message: str) -> None:
        nonlocal last
        if (now := time.monotonic()) - last > _PROGRESS_EVERY_S:
            last = now
            _say(answers, {"progress": share, "message": message})

    try:
        if job["verb"] == "warm_up":
            _warm_up()
            return {"text": "", "data": {}}
        from sld.mcp import results
        from sld.mcp.verbs import VERBS

        text, record = VERBS[job["verb"]](progress, **job["arguments"])
        return {"text": results.shortened(text), "data": results.plain(record)}
    except SldError as error:
        return {"error": _one_line(str(error))}
    except MemoryError:
        return {"error": "not enough memory for this (--memory): use fewer rows or workers"}
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        return {"error": _one_line(f"could not read or write{place}: {error.strerror or error}")}
    except Exception as error:  # noqa: BLE001  # a defect of ours is an answer to its client, not the end of the server
        import traceback

        traceback.print_exc()
        return {"error": _one_line(f"this is a defect of sld, please report it: {type(error).__name__}: {error}")}


def _warm_up() -> None:
    """Do a small fit, so that the first call of a client waits for no import and no compiler."""
    from sld import api

    runs = {"N": [1e6, 1e7, 1e8, 1e9], "loss": [4.0, 3.1, 2.5, 2.1]}
    api.fit(runs, "E + A*N**-a", target="loss", scale="N", starts=1)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_ERROR else f"{line[:_LONGEST_ERROR]} ..."


def _say(answers: IO[str], message: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(message, allow_nan=False) + "\n")
        answers.flush()
    except BrokenPipeError:  # the server is gone, and with it who wants to know
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
