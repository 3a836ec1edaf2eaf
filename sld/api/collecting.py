"""Runs from where they are: the tidy table of trackers and log files, its account, and the draft of its card."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from sld.core.arguments import checked
from sld.core.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from sld.data.collecting.draft import Draft
    from sld.data.collecting.gather import Gathered, Progress
    from sld.data.importers.attempt import Cell

_SUFFIXES = (".csv", ".tsv")


class CollectOptions(TypedDict, total=False):
    """What a collection can be told beside its sources and its file.

    Attributes:
        reader: The kind of source (`--as`), where it is not recognised.
        per: "run" (the default) gives a row a run, "step" a row a checkpoint.
        summary: How a curve becomes a number: "last:eval/loss", "min:...", "mean(last 100):...", "at(tokens=1e9):...";
            several in one text, or a list. The last loss if not given.
        scale: Columns that grow with money, as products of names: "N=config.n_params, D=step*config.batch".
        group: The setting by which runs are grouped.
        keep: Settings and metrics that come along; those that differ between runs if not given.
        join: The setting, or "run" for the name, that makes runs of several sources one.
        keep_unfinished: Keep runs that did not go to their end.
        progress: Called with how many things are read, how many there are, and the name of the next.
    """

    reader: str | None
    per: str
    summary: str | Sequence[str]
    scale: str | Sequence[str]
    group: str | None
    keep: str | Sequence[str]
    join: str | None
    keep_unfinished: bool
    progress: Progress | None


@dataclass(frozen=True, eq=False, repr=False)
class Collected:
    """A table of runs with its account and the draft of its card.

    Attributes:
        gathered: The table and the runs behind it.
        drafted: The card, and the reasons for what it says.
        warnings: What is not plausible in the table, a line each.
        out: Where the table was written.
        card: Where the card was written, or where one stands that was left as it is.
        card_kept: There was a card that somebody had changed.
    """

    gathered: Gathered
    drafted: Draft
    warnings: tuple[str, ...] = ()
    out: Path | None = None
    card: Path | None = None
    card_kept: bool = False

    def __repr__(self) -> str:
        """Return the counts of the account."""
        return f"Collected({self.gathered.table.n_rows} rows; {self.gathered.account.headline})"

    def to_frame(self) -> pd.DataFrame:
        """Return the table; `.attrs` holds the account, the counts, the roles of the columns and the card."""
        return _frame(self.gathered, self.drafted, self.warnings)

    def to_csv(self, separator: str = ",") -> str:
        """Return the table as text; numbers have all their digits, and what is absent is empty."""
        columns = self.gathered.table.columns
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_written(cell) for cell in row] for row in zip(*columns.values(), strict=True))
        return buffer.getvalue()

    def summary(self) -> str:
        """Return the account: the counts, then a line for each thing that was done or noticed."""
        return "\n".join((*self.gathered.account.lines(), *(f"doubtful: {line}" for line in self.warnings)))

    def to_json(self) -> dict[str, Any]:
        """Return account, columns and rows."""
        from sld.data.collecting.gather import roles_of

        table = self.gathered.table
        return {
            "account": self.gathered.account.to_json(),
            "warnings": list(self.warnings),
            "columns": {name: roles_of(table).get(name, "setting") for name in table.columns},
            "rows": [dict(zip(table.columns, row, strict=True)) for row in zip(*table.columns.values(), strict=True)],
            "reasons": list(self.drafted.reasons),
            "out": None if self.out is None else str(self.out),
            "card": None if self.card is None else str(self.card),
            "n_read": self.gathered.n_read,
            "n_unchanged": self.gathered.n_cached,
        }


@checked()
def collect(
    sources: str | Path | Sequence[str | Path], *, out: str | Path | None = None, **options: Unpack[CollectOptions]
) -> pd.DataFrame:
    r"""Make the tidy table of the runs that trackers and log files hold.

    A run of $n$ stretches (resumes) with points $(t_{ki}, y_{ki})$ becomes one curve: of stretch $k$ the points before
    the first step of stretch $k+1$ count. The target is what `summary` takes from it, the last value if not said.
    Values that are not finite never count; a run whose curve ends in one has diverged, has no value, and is marked in
    `status`. Scales are read at the step at which the target was taken.

    Args:
        sources: Folders and files: W&B run folders and exported CSV, TensorBoard event files, Hugging Face Trainer,
            lm-evaluation-harness, MLflow, trackio, Optuna, Lightning, Keras and fastai logs, logs of nanoGPT, litgpt,
            nanochat, Megatron-LM and OLMo, JSON, JSON lines, CSV, Parquet. `wandb://ENTITY/PROJECT[/RUN_ID]` is read
            with W&B's client (the extra `wandb`), as who is logged in; nothing else is fetched.
        out: A CSV file to write, with a card beside it (`runs.toml`), so that `sld discover runs.csv` needs no options.
            A second collection into it reads only what has changed.
        **options: See `sld.api.collecting.CollectOptions`.

    Returns:
        A row for each run, or checkpoint. `.attrs["account"]` says line by line what was done with which run,
        `.attrs["roles"]` what each column is for, `.attrs["card"]` is the draft of a card.

    Raises:
        UsageError: An option or a name cannot be used.
        DataError: A source does not exist, or nothing in it can be read.
        SldError: W&B's server does not answer, or wants fewer requests. What it sent is kept beside `out`.

    Examples:
        >>> import json, pathlib, tempfile
        >>> import sld
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for n in (1e6, 1e7, 1e8):
        ...     rows = [{"step": k, "tokens": 1e6 * k, "loss": 2 + (n * k) ** -0.1} for k in range(1, 6)]
        ...     text = "\n".join(json.dumps(row) for row in [{"n_params": int(n)}, *rows])
        ...     _ = (folder / f"size-{n:.0e}.jsonl").write_text(text + "\n")
        >>> runs = sld.collect(folder)
        >>> runs[["run", "N", "D", "loss"]].round(4)
                  run          N        D    loss
        0  size-1e+06    1000000  5000000  2.2138
        1  size-1e+07   10000000  5000000  2.1699
        2  size-1e+08  100000000  5000000  2.1349
        >>> runs.attrs["account"][0]
        '3 runs read (JSON lines)'
    """
    return collected(sources, out=out, **options).to_frame()


def collected(
    sources: str | Path | Sequence[str | Path], *, out: str | Path | None = None, **options: Unpack[CollectOptions]
) -> Collected:
    """Do what `collect` does, and return the account and the card as they are; see there."""
    from sld.data.collecting.cache import Cache
    from sld.data.collecting.draft import draft
    from sld.data.collecting.gather import Where, gather, roles_of
    from sld.data.plausibility import plausibility_lines

    given = (sources,) if isinstance(sources, str | Path) else tuple(sources)
    if not given:
        raise UsageError("name a folder or file to collect from")
    target = None if out is None else _target(Path(out))
    card = None if target is None else target.with_name(f"{_stem(target)}.toml")
    kept = None if target is None else target.with_name(f".{_stem(target)}.collected")
    own = tuple(path for path in (target, card, kept) if path is not None)
    wanted = _wanted(options)
    cache = Cache.at(kept)
    where = Where(given, options.get("reader"), options.get("join"), own)
    gathered = gather(where, wanted, cache, options.get("progress"))
    name = "runs" if target is None else _stem(target)
    file = "runs.csv" if target is None else target.name
    drafted = draft(gathered.table, name, file, [str(source) for source in given])
    warnings = plausibility_lines(_frame(gathered, drafted, ()), roles_of(gathered.table))
    found = Collected(gathered, drafted, warnings)
    if target is None or card is None:
        return found
    return _write(found, target, card, cache)


def _wanted(options: CollectOptions) -> Any:
    from sld.data.collecting.asked import read_scales, read_summaries, split_outside
    from sld.data.collecting.tidy import Wanted
    from sld.data.counting.settings import counted_settings

    per = options.get("per", "run")
    if per not in ("run", "step"):
        raise UsageError(f"per must be run or step, got {per!r}")
    keep = options.get("keep", ())
    listed = [keep] if isinstance(keep, str) else list(keep)
    return Wanted(
        per="step" if per == "step" else "run",
        summaries=tuple(read_summaries(options.get("summary") or ())),
        scales=tuple(read_scales(options.get("scale") or ())),
        group=options.get("group"),
        keep=tuple(part for text in listed for part in split_outside(text)),
        keep_unfinished=options.get("keep_unfinished", False),
        derive=(counted_settings,),
    )


def _target(out: Path) -> Path:
    if out.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"a collection is written as .csv or .tsv, got {out.name!r}")
    if not out.parent.is_dir():
        raise UsageError(f"could not write {out}: no folder {out.parent}; create it first")
    return out


def _stem(path: Path) -> str:
    return path.name.partition(".")[0] or path.stem


def _write(found: Collected, target: Path, card: Path, cache: Any) -> Collected:
    """Write table, card and cache, each whole; a card that somebody changed stays."""
    from dataclasses import replace

    from sld.core.files import write_text_atomic

    separator = "\t" if target.suffix.lower() == ".tsv" else ","
    write_text_atomic(target, found.to_csv(separator))
    drafted = None if found.drafted.card is None else found.drafted.card.to_toml()
    there = _text_of(card)
    ours = there is None or cache.card == _checksum(there) or there == drafted
    mark = cache.card
    if ours and drafted is not None:
        write_text_atomic(card, drafted)
        mark = _checksum(drafted)
    elif ours and there is not None:
        card.unlink(missing_ok=True)  # of an earlier table, and no longer true
        there = None
    cache.save(mark)
    exists = drafted is not None or there is not None
    return replace(found, out=target, card=card if exists else None, card_kept=not ours)


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return ""


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode("utf-8"))


def _frame(gathered: Gathered, drafted: Draft, warnings: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    from sld.data.collecting.gather import roles_of

    frame = pd.DataFrame({name: _column(cells) for name, cells in gathered.table.columns.items()})
    account = gathered.account
    frame.attrs = {
        "account": [*account.lines(), *(f"doubtful: {line}" for line in warnings)],
        "counts": account.to_json()["counts"],
        "roles": roles_of(gathered.table),
        "card": "" if drafted.card is None else drafted.card.to_toml(),
    }
    return frame


def _column(cells: Sequence[Cell]) -> Sequence[Any]:
    """Return cells as pandas takes them: an empty one among numbers is NaN."""
    numbers = all(c is None or (isinstance(c, int | float) and not isinstance(c, bool)) for c in cells)
    if numbers and any(c is None for c in cells) and any(c is not None for c in cells):
        return [float("nan") if c is None else float(c) for c in cells]
    return cells


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return repr(cell) if isinstance(cell, float) else str(cell)
