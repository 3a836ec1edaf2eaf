"""Which column of a table of runs holds which quantity: told by its name, and only where that leaves no doubt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sld.core.arrays import Array, Mask, Rows
from sld.core.errors import DataError
from sld.core.numbers import exact
from sld.data.reading import column_names, read_columns
from sld.data.table import Table

if TYPE_CHECKING:
    from sld.data.counting.counted import ModelCount

# what a column can be told to be, beside a role: the quantities that are checked against each other
QUANTITIES: Mapping[str, str] = {
    "N": "parameters of the model",
    "D": "tokens that it was trained on",
    "C": "operations (FLOPs) of the training",
    "loss": "a loss in nats",
    "steps": "steps of the optimiser",
    "batch": "sequences of a step",
    "batch_tokens": "tokens of a step",
    "sequence": "tokens of a sequence",
    "vocabulary": "tokens in the vocabulary",
    "convention": "how N is counted, in words",
    "run": "name of the run",
    "seed": "what random numbers began with",
    "time": "a clock, or seconds since the start",
}

_WORDS = ("convention", "run", "seed")  # quantities that may be words
_NAMES = {
    "N": r"n|(n_|num_|number_of_)?param(eter)?s|model_size|n_no_emb|(non_?emb(edding)?|total|active)_(n|param(eter)?s)|"
    r"(n|param(eter)?s)_(total|active|non_?emb(edding)?)",
    "D": r"d|(n_|num_|train(ing)?_|total_|train(ing)?_total_|data_|consumed_)?tokens(_seen)?|num_input_tokens_seen",
    "C": r"c|(total_|train(ing)?_|model_)?flo(p|ps|s)|compute",
    "loss": r"((train(ing)?|eval|val(id(ation)?)?|test|final|lm|ce|xent)_)*(loss|nll|cross_?entropy)",
    "steps": r"((n_|num_|max_|train(ing)?_|global_|total_)*(steps?|iterations?|iters?))",
    "batch": r"(global_|train_|total_)?(batch(_size)?|bs|bsz|batchsize)",
    "batch_tokens": r"(batch_tokens|tokens_per_(batch|step|iter(ation)?)|batch_size_tokens)",
    "sequence": r"(max_)?(seq(uence)?(_?len(gth)?)?)|context(_?len(gth)?|_size)?|ctx|n_ctx|block_size|n_positions",
    "vocabulary": r"(n_)?vocab(ulary)?(_size)?",
    "convention": r"(n_|param(eter)?_?)?convention",
    "run": r"run(_?(id|name))?|exp(eriment)?(_?(id|name))?|trial(_?(id|name))?",
    "seed": r"(data_|model_|random_)?seed|random_?state",
    "time": r"time(stamp)?|wall_?time|runtime|seconds|_timestamp|_runtime|elapsed|date|created(_at)?",
}
_MULTIPLES = re.compile(r"billion|million|thousand|\b[kMBG]\b|\b1e\d|10\^")  # in the unit of a card
_PATTERNS = {quantity: re.compile(pattern) for quantity, pattern in _NAMES.items()}


def quantity_of(column: str) -> str | None:
    """Return what a column holds, a word of `QUANTITIES`, or None where its name does not tell.

    >>> [quantity_of(name) for name in ("N", "config.n_params", "eval/loss", "tokens per parameter", "log10_N")]
    ['N', 'N', 'loss', None, None]
    """
    if column in ("N", "D", "C"):
        return column
    last = re.split(r"[./]", column)[-1]
    name = re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", last)).casefold()
    if name in ("n", "d", "c"):  # small letters are used for anything: samples, dimensions, classes
        return None
    return next((quantity for quantity, pattern in _PATTERNS.items() if pattern.fullmatch(name)), None)


def quantities(columns: Iterable[str], said: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return quantity to column: as said, else by name; a quantity that two columns may hold is left out.

    Args:
        columns: All of the table.
        said: Column to what it is: a word of `QUANTITIES`, or a role, which tells a target from a setting.
    """
    said = {column: "steps" if what == "step" else what for column, what in (said or {}).items()}
    named = {what: column for column, what in said.items() if what in QUANTITIES}
    found: dict[str, list[str]] = {}
    for column in columns:
        quantity = quantity_of(column)
        if quantity is None or quantity in named or said.get(column) in QUANTITIES:
            continue
        if quantity == "loss" and said and said.get(column, "target") != "target":
            continue  # a loss that is a setting, such as that of a teacher
        found.setdefault(quantity, []).append(column)
    return {**{quantity: names[0] for quantity, names in found.items() if len(names) == 1}, **named}


@dataclass(frozen=True, eq=False)
class Runs:
    """Rows with the quantities that are known of them.

    Attributes:
        n: Number of rows.
        names: Quantity to its column.
        values: Quantity to its numbers (n,), NaN where there is none.
        settings: (n,) numbers of every other column of numbers or texts, by column; texts as numbers of their labels.
        targets: Columns that are results.
        run: (n,) names of the runs, where a column has them.
        counts: Name of a run to the counts of its model.
        names_of_rows: Columns of texts of which every row has its own, such as a path.
        scaled: Columns whose card says that they are in thousands, millions or billions.
    """

    n: int
    names: Mapping[str, str]
    values: Mapping[str, Array]
    settings: Mapping[str, Array]
    targets: tuple[str, ...]
    run: Sequence[str] | None
    counts: Mapping[str, ModelCount] = field(default_factory=dict)
    names_of_rows: frozenset[str] = frozenset()
    scaled: frozenset[str] = frozenset()

    def has(self, *wanted: str) -> bool:
        """Whether all of these quantities are known, in units of one."""
        return all(q in self.values and self.names.get(q) not in self.scaled for q in wanted)

    def label(self, row: int) -> str:
        """Return how a row is called: by its run, or by its number."""
        return f"row {row + 1}" if self.run is None else f"run {self.run[row]}"

    def first(self, rows: Mask) -> str:
        """Return how the first of some rows is called."""
        return self.label(int(np.flatnonzero(rows)[0]))

    def others(self, rows: Rows, shown: int) -> str:
        """Return how many rows there are beside the one that is shown."""
        rest = len([row for row in rows if row != shown])
        return f" (and {rest} more of {self.n} rows)" if rest else ""


def runs_of(
    data: object, roles: Mapping[str, str] | None = None, counts: Mapping[str, ModelCount] | None = None
) -> Runs:
    """Return the rows of a table with the quantities that its columns hold; see `sld.api.counting.plausibility`."""
    return _of_table(data) if isinstance(data, Table) else _of_columns(data, roles or {}, counts or {})


def _of_table(table: Table) -> Runs:
    plain = [v.column for v in table.variables if v.log is None]
    targets = tuple(t.column for t in table.targets)
    said = dict.fromkeys(targets, "target") | {v.column: v.role for v in table.variables}
    names = quantities([*plain, *targets], said)
    columns = {v.column: table.X[:, i] for i, v in enumerate(table.variables)}
    columns |= {t.column: table.Y[:, j] for j, t in enumerate(table.targets)}
    grouping = {} if table.group_column is None else {table.group_column: table.group_index.astype(np.float64)}
    run = [table.runs[int(k)] for k in table.run_index] if table.runs else None
    known = {quantity: columns[column] for quantity, column in names.items() if column in columns}
    scaled = frozenset(v.column for v in table.variables if _MULTIPLES.search(v.unit))
    return Runs(table.n_rows, names, known, {**columns, **grouping}, targets, run, scaled=scaled)


def _of_columns(data: object, said: Mapping[str, str], counts: Mapping[str, ModelCount]) -> Runs:
    there = [name for name in column_names(data) if name]
    names = quantities(there, said)
    numbers: dict[str, Array] = {}
    texts: dict[str, list[str]] = {}
    for column in there:
        try:
            numbers[column] = read_columns(data, [column]).values[column]
        except DataError:  # not numbers
            try:
                labelled = read_columns(data, (), column)
            except DataError:  # gaps in a column of texts
                continue
            texts[column] = [labelled.labels[int(k)] for k in labelled.label_index]
    n = max((len(column) for kind in (numbers, texts) for column in kind.values()), default=0)
    run_column = names.get("run")
    run = texts.get(run_column or "")
    if run is None and run_column in numbers:
        run = [exact(value) for value in numbers[run_column]]
    coded = {c: np.unique(labels, return_inverse=True)[1].astype(np.float64) for c, labels in texts.items()}
    read = {**numbers, **coded}
    known = {q: read[c] for q, c in names.items() if c in (read if q in _WORDS else numbers)}
    own = frozenset(column for column, labels in texts.items() if len(set(labels)) == n)
    targets = tuple(c for c in there if said.get(c) == "target" or (not said and names.get("loss") == c))
    return Runs(n, names, known, read, targets, run, counts, own)
