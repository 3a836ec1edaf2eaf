"""The account of a collection: what was done with which run, by rule, counted in one line and then named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "resumed", "restarted", "copies", "renamed", "diverged", "unfinished", "repeated", "gaps", "not finite", "changed",
    "empty", "interpolated", "unmatched", "unreadable", "note",
]  # fmt: skip

# how a kind is counted in the first line; the others are only listed
_COUNTED: dict[Kind, str] = {
    "resumed": "{n} resumed (joined)",
    "restarted": "{n} started anew (the last start counts)",
    "copies": "{n} found twice (kept once)",
    "renamed": "{n} with a name that others have (numbered)",
    "diverged": "{n} diverged (marked)",
    "unfinished": "{n} unfinished ({fate})",
    "unreadable": "{n} unreadable (left out)",
    "unmatched": "{n} without a partner (--join)",
}
_MOST_LISTED = 20  # of a kind; the rest is counted


@dataclass(frozen=True)
class Remark:
    """Something that was done or noticed: `run` is empty where it concerns a file or the whole."""

    kind: Kind
    run: str
    sentence: str

    def __str__(self) -> str:
        """Return the line of it."""
        return f"{self.run}: {self.sentence}" if self.run else self.sentence


@dataclass(frozen=True)
class Account:
    """What became of everything that was read.

    Attributes:
        n_runs: Runs that were read, after stretches and copies were joined.
        n_attempts: Recordings that they came from.
        n_rows: Rows of the table.
        sources: Titles of the sources.
        remarks: In the order in which things were done.
        keeps_unfinished: Unfinished runs are in the table.
    """

    n_runs: int
    n_attempts: int
    n_rows: int
    sources: tuple[str, ...]
    remarks: tuple[Remark, ...]
    keeps_unfinished: bool = False

    def of(self, kind: Kind) -> list[Remark]:
        """Return the remarks of a kind."""
        return [remark for remark in self.remarks if remark.kind == kind]

    def count(self, kind: Kind) -> int:
        """Return how many runs, or files, a kind concerns."""
        found = self.of(kind)
        return len({remark.run for remark in found if remark.run}) + sum(1 for remark in found if not remark.run)

    @property
    def headline(self) -> str:
        """The counts in one line."""
        runs = _many(self.n_runs, "run")
        recordings = f" from {self.n_attempts} recordings" if self.n_attempts > self.n_runs else ""
        fate = "kept" if self.keeps_unfinished else "left out, --keep-unfinished"
        counts = [text.format(n=n, fate=fate) for kind, text in _COUNTED.items() if (n := self.count(kind))]
        return f"{runs} read{recordings} ({', '.join(self.sources)})" + (f": {', '.join(counts)}" if counts else "")

    def lines(self) -> list[str]:
        """Return the whole account: the counts, then a line for each remark, twenty of a kind at most."""
        lines = [self.headline]
        for kind in get_args(Kind):
            found = list(dict.fromkeys(map(str, self.of(kind))))
            lines += found[:_MOST_LISTED]
            if len(found) > _MOST_LISTED:
                lines.append(f"... and {len(found) - _MOST_LISTED} more like the last one")
        return lines

    def to_json(self) -> dict[str, object]:
        """Return the account for JSON."""
        return {
            "n_runs": self.n_runs,
            "n_recordings": self.n_attempts,
            "n_rows": self.n_rows,
            "sources": list(self.sources),
            "counts": {kind: self.count(kind) for kind in get_args(Kind) if self.of(kind)},
            "remarks": [{"kind": r.kind, "run": r.run, "text": r.sentence} for r in self.remarks],
        }


def _many(n: int, what: str) -> str:
    return f"1 {what}" if n == 1 else f"{n} {what}s"


def listed(names: Iterable[str], most: int = 6) -> str:
    """Return names in a sentence: all of a few, else the first and how many more."""
    found: Sequence[str] = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
