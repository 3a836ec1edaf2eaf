"""The record of a run's calls: `llm/exchange.jsonl`, one line a call, appended and never changed.

    i, time     which call, and when it was answered (UTC)
    turn        when in the search, as the caller counts
    hash        of the request: model, messages, schema, tools, settings (not the server: a run moves between machines)
    request     what was asked, without the key; absent from a line that repeats an earlier one
    reply       what came back, with tokens and cost
    sent        what was left out or changed because the server refused it, and how often it was tried

A line is whole on the disk before the reply is handed on, so a killed run has paid for nothing that it forgets.
A line cut off by a kill is ignored. A run that is taken up again gets the recorded reply to a request that it made
before, and pays nothing.
In replay nothing is written and no server is asked: identical requests get their replies in the order of the record.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sld.chat.ledger import Booking
from sld.chat.reply import Reply
from sld.core.errors import UsageError

EXCHANGE = Path("llm") / "exchange.jsonl"  # in the run folder


@dataclass(frozen=True)
class Line:
    """One recorded call, without the request's text."""

    turn: int | None
    hash: str
    reply: Reply


class Record:
    """The calls of one run; any thread may use it.

    Examples:
        >>> request = {"model": "m", "messages": []}
        >>> record = Record(None)
        >>> record.add(request, Record.hash_of(request), Reply(text="E + A*N**-a"))
        >>> record.answer(Record.hash_of(request)).text
        'E + A*N**-a'
    """

    def __init__(self, path: str | Path | None, *, replay: bool = False) -> None:
        """Read what is there; None keeps everything in memory.

        Raises:
            UsageError: The file cannot be read, or a replay has no file.
        """
        self.path = None if path is None else Path(path)
        self.replay = replay
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._answers: dict[str, list[Reply]] = defaultdict(list)
        self._given: dict[str, int] = defaultdict(int)
        if self.path is not None and (replay or self.path.exists()):
            self._read(self.path)
        self.earlier = 0 if replay else len(self._lines)

    @staticmethod
    def hash_of(request: Mapping[str, Any]) -> str:
        """Return the hash of a request; the order of its keys does not matter."""
        text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def lines(self) -> tuple[Line, ...]:
        """All calls so far, those of earlier processes included."""
        with self._lock:
            return tuple(self._lines)

    def bookings(self) -> list[Booking]:
        """Return what the calls of earlier processes used, for the ledger of a run that is taken up again."""
        return [Booking.of(line.reply) for line in self.lines[: self.earlier]]

    def answer(self, hash: str) -> Reply | None:
        """Return the recorded reply to a request, or None.

        In replay the replies to identical requests come in their order, exactly as they were; after the last, none.
        Otherwise the first usable one, marked as cached; it took no tokens.
        """
        with self._lock:
            replies = self._answers.get(hash, [])
            if self.replay:
                i = self._given[hash]
                self._given[hash] += 1
                return replies[i] if i < len(replies) else None
            for reply in replies:
                if not reply.status:
                    paid = replace(reply, tokens_in=0, tokens_out=0, tokens_cached=0, cost_usd=0.0)
                    return replace(paid, cached=True, estimated=False, seconds=0.0)
            return None

    def add(
        self,
        request: Mapping[str, Any],
        hash: str,
        reply: Reply,
        *,
        turn: int | None = None,
        sent: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one call; nothing in replay.

        Raises:
            UsageError: The line could not be written.
        """
        if self.replay:
            return
        with self._lock:
            line: dict[str, Any] = {
                "i": len(self._lines),
                "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
                "turn": turn,
                "hash": hash,
                **({} if hash in self._answers else {"request": dict(request)}),
                "reply": reply.to_json(),
                "sent": dict(sent or {}),
            }
            if self.path is not None:
                self._append(self.path, (json.dumps(line, ensure_ascii=True) + "\n").encode("ascii"))
            self._keep(Line(turn, hash, reply))

    def _keep(self, line: Line) -> None:
        self._lines.append(line)
        self._answers[line.hash].append(line.reply)

    def _append(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # opened for each call: calls are rare, and no descriptor is left to close when a search is broken off
            with open(path, "ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UsageError(f"could not write {path}: {error.strerror or error}") from error

    def _read(self, path: Path) -> None:
        good = 0
        try:
            with open(path, "rb") as file:
                for number, text in enumerate(file, start=1):
                    if not text.endswith(b"\n"):
                        break  # cut off by a kill
                    self._keep(_line(text, f"{path}, line {number}"))
                    good += len(text)
            if good < path.stat().st_size and not self.replay:
                os.truncate(path, good)
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _line(text: bytes, where: str) -> Line:
    try:
        data = json.loads(text)
        turn, hash = data["turn"], data["hash"]
        if not isinstance(hash, str) or not (turn is None or isinstance(turn, int)):
            raise TypeError("turn or hash")
        return Line(turn, hash, Reply.from_json(data["reply"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{where} is no recorded call ({type(error).__name__}); repair it or take another run"
        ) from None
