r"""What cannot be in a table of runs, or hardly can, told before anything is fitted: no fit reveals it.

Columns that hold the same thing twice are compared: compute $C$ with $6 N D$, tokens with steps x batch x sequence,
a loss with $\ln V$, which is what guessing among the $V$ tokens of a vocabulary costs. Counters of a run should rise, a
column should have one unit and one convention, a run one name. The tolerances are wide: what is said is wrong, or
needs a reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sld.core.arrays import Array, Mask, Rows
from sld.core.numbers import exact, short
from sld.data.quantities import QUANTITIES, Runs, runs_of

if TYPE_CHECKING:
    from sld.data.counting.counted import ModelCount

Grade = Literal["impossible", "doubtful", "note"]

_ROUNDING = 1.05  # of printed numbers: to how much of 6ND compute may fall short
_IDLE = 1e-3  # utilisation below this is no training that anybody would pay for
_UNIT_OFF = 100.0  # times that 6ND exceeds C before a unit is suspected rather than a convention
_SAME_UNIT = (0.2, 1.6)  # 6ND over C in the right unit: parts of the model left out, or counted besides
_TOKENS_OFF = 1.02  # factor between tokens and steps x batch x sequence that a last, shorter batch explains
_GUESSING = 1.02  # times ln V that a loss may reach before anything is learnt
_INFINITE = 1e300  # stands for infinity in files of trackers: no loss is as large
_ALL_EXPERTS = 0.02  # relative: padding is counted as well, and the last batch may be short
_RESUMES = 0.1  # of its points at which a run may have been resumed; a name with more falls stands for several runs
_GAP = 1e4  # factor without a value between two values of one column: nobody skips four decades
_FRACTIONS = 1e4  # parameters or tokens that are not whole and below this are thousands, millions or billions
_ONE_RATIO = 0.01  # largest relative deviation of D/N that counts as one ratio
_SHARE = 0.3  # of the rows that follow one rule before the others count as exceptions
_DIGITS = (
    6  # significant digits of one result with which two runs that agree are one run: seeds agree in five by chance
)
_SEVERAL = (3, 4)  # the same of so many results at least: digits of each
_MANY = 5.0  # times that are not said in per cent
_MOST_PAIRS = 3  # of runs that agree which are named
_COUNTED = 0.005  # relative: N is printed to three digits
_UNITS = {
    "thousands of FLOPs": 1e3, "MFLOPs": 1e6, "GFLOPs": 1e9, "TFLOPs": 1e12, "PFLOPs": 1e15, "EFLOPs": 1e18,
    "PF-days": 8.64e19, "ZFLOPs": 1e21,
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """Something that is not plausible, in one line.

    Attributes:
        check: Which check found it.
        grade: impossible, doubtful, or a note that a reader may want.
        text: The line, with run or row and numbers.
        rows: Of the table, counted from 0.
    """

    check: str
    grade: Grade
    text: str
    rows: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return the line."""
        return self.text

    def to_json(self) -> dict[str, Any]:
        """Return it as a table of texts and numbers."""
        return asdict(self)


def plausibility(
    data: object, roles: Mapping[str, str] | None = None, *, counts: Mapping[str, ModelCount] | None = None
) -> tuple[Finding, ...]:
    """Look for what cannot be, or hardly can, in a table of runs; see `sld.api.counting.plausibility`."""
    runs = runs_of(data, roles, counts)
    order: dict[Grade, int] = {"impossible": 0, "doubtful": 1, "note": 2}
    with np.errstate(all="ignore"):  # what overflows is no finite number, and such rows are left out
        found = [finding for check in _CHECKS for finding in check(runs)]
    return tuple(sorted(found, key=lambda finding: order[finding.grade]))


def plausibility_lines(data: object, roles: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the findings as lines, without notes."""
    return tuple(finding.text for finding in plausibility(data, roles) if finding.grade != "note")


# --- checks, one each -------------------------------------------------------------------------------------------------


def _compute(runs: Runs) -> Iterator[Finding]:
    """Compare C with 6ND: as much work as the hardware could have done, or more, is no training."""
    if not runs.has("N", "D", "C"):
        return
    N, D, C = (runs.values[q] for q in "NDC")
    use = 6 * N * D / C
    # of a mixture of experts 6ND is no estimate: only those that a token uses work on it
    usable = _positive(N, D, C, use) & np.array([c is None or c.active == c.total for c in _counted(runs)])
    if not usable.any():
        return
    use = np.where(usable, use, np.nan)
    names = {q: runs.names[q] for q in "NDC"}
    product = f"6*{names['N']}*{names['D']}"
    middle = float(np.nanmedian(use))
    if middle > _UNIT_OFF and (unit := _unit(middle)):
        row = int(np.flatnonzero(usable)[0])
        yield Finding(
            "units", "doubtful",
            f"{runs.label(row)}: {product} is {short(use[row])} times {names['C']} ({short(C[row])}): "
            f"{names['C']} seems to "
            f"be in {unit}; give it in FLOPs, or leave it out",
            _all(usable),
        )  # fmt: skip
        return
    high, low = usable & (use > _ROUNDING), usable & (use < _IDLE)
    ratio = 6 / middle
    one = bool(np.all(np.abs(use[usable] / middle - 1) < _ONE_RATIO))
    if one and usable.sum() > 2 and (high | low).any():
        yield Finding(
            "compute", "doubtful",
            f"{runs.first(usable)}: {names['C']} is {short(ratio)}*{names['N']}*{names['D']} here and in all "
            f"{int(usable.sum())} rows, not {product}: what does it count?",
            _all(usable),
        )  # fmt: skip
        return
    for bad, says in ((high, "above 100 %"), (low, "below 0.1 %")):
        if bad.any():
            row = int(np.nanargmax(np.where(bad, np.abs(np.log(use)), np.nan)))
            yield Finding(
                "compute", "impossible" if says.startswith("above") else "doubtful",
                f"{runs.label(row)}: {product} = {short(6 * N[row] * D[row])} is {_share(use[row])} {names['C']} = "
                f"{short(C[row])}, a utilisation {says}{runs.others(np.flatnonzero(bad), row)}: are {names['N']}, "
                f"{names['D']} and {names['C']} of the same run, and counted alike?",
                _all(bad),
            )  # fmt: skip
    exact, far = usable & (np.abs(use - 1) < _COUNTED), usable & (np.abs(use - 1) > 0.05) & ~high & ~low
    if exact.mean() > _SHARE and far.any():
        row = int(np.nanargmax(np.where(far, np.abs(use - 1), np.nan)))
        yield Finding(
            "convention", "doubtful",
            f"{runs.label(row)}: {product} is {_share(use[row])} {names['C']}, while it is {names['C']} in "
            f"{int(exact.sum())} rows{runs.others(np.flatnonzero(far), row)}: is one of them counted in two ways?",
            _all(far),
        )  # fmt: skip


def _experts(runs: Runs) -> Iterator[Finding]:
    """Find compute of a mixture that counts every expert, as the Trainer of transformers does."""
    if not runs.has("D", "C"):
        return
    D, C = runs.values["D"], runs.values["C"]
    counted = _counted(runs)
    every = np.array([math.nan if c is None or c.active == c.total else 6.0 * c.parameters("trainer") for c in counted])
    bad = np.abs(C / (every * D) - 1) < _ALL_EXPERTS
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        model = counted[row]
        assert model is not None
        yield Finding(
            "compute", "impossible",
            f"{runs.label(row)}: {runs.names['C']} = {short(C[row])} counts every expert; a token uses "
            f"{model.parameters('active-non-embedding-with-head'):,} of {model.parameters('trainer'):,} parameters"
            f"{runs.others(np.flatnonzero(bad), row)}",
            _all(bad),
        )  # fmt: skip


def _tokens(runs: Runs) -> Iterator[Finding]:
    """Compare tokens with steps x batch x sequence."""
    factors: tuple[str, ...]
    if runs.has("D", "steps", "batch_tokens"):
        factors = ("steps", "batch_tokens")
    elif runs.has("D", "steps", "batch", "sequence"):
        factors = ("steps", "batch", "sequence")
    else:
        return
    D = runs.values["D"]
    made = np.prod([runs.values[q] for q in factors], axis=0)
    usable = _positive(D, made, D / made)
    ratio = np.where(usable, D / made, np.nan)
    off = usable & (np.abs(np.log(np.where(usable, ratio, 1.0))) > math.log(_TOKENS_OFF))
    if not off.any():
        return
    product = " x ".join(runs.names[q] for q in factors)
    name = runs.names["D"]
    middle = float(np.nanmedian(ratio))
    one = bool(np.all(np.abs(ratio[usable] / middle - 1) < _ONE_RATIO))
    row = int(np.flatnonzero(off)[0]) if one else int(np.nanargmax(np.where(off, np.abs(np.log(ratio)), np.nan)))
    every = f" in all {int(usable.sum())} rows" if one and usable.sum() > 1 else runs.others(np.flatnonzero(off), row)
    whole = middle >= 2 and abs(middle - round(middle)) < 0.01 * middle
    why = "are devices or accumulated batches left out?" if one and whole else "was the run resumed, or counted anew?"
    yield Finding(
        "tokens", "doubtful",
        f"{runs.label(row)}: {name} = {short(D[row], 4)} is {short(ratio[row])} times {product} = "
        f"{short(made[row], 4)}{every}: {why}",
        _all(off),
    )  # fmt: skip


def _loss(runs: Runs) -> Iterator[Finding]:
    """Compare a loss with guessing, and find numbers that stand for none."""
    if not runs.has("loss"):
        return
    loss, name = runs.values["loss"], runs.names["loss"]
    kinds: tuple[tuple[Mask, str], ...] = (
        (loss == 0.0, "is exactly 0, as some trackers write what is no number"),
        (loss >= _INFINITE, "stands for infinity"),
    )
    for bad, what in kinds:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            yield Finding(
                "loss", "impossible",
                f"{runs.label(row)}: {name} = {short(loss[row], 4)} "
                f"{what}{runs.others(np.flatnonzero(bad), row)}; leave the "
                f"run out",
                _all(bad),
            )  # fmt: skip
    V = runs.values.get("vocabulary")
    if V is None and runs.run is not None and runs.counts:
        V = np.array([_vocabulary(counted) for counted in _counted(runs)])
    if V is None:
        return
    guess = np.log(np.where(V > 1, V, np.nan))
    bad = (loss > _GUESSING * guess) & (loss < _INFINITE)
    if bad.any():
        row = int(np.nanargmax(np.where(bad, loss / guess, np.nan)))
        bits = " (or is it in bits, or a sum?)" if loss[row] < 1.5 * guess[row] else ""
        yield Finding(
            "loss", "doubtful",
            f"{runs.label(row)}: {name} = {short(loss[row], 4)} is above ln({exact(V[row])}) = "
            f"{short(guess[row], 4)}, which guessing "
            f"among the vocabulary gives{runs.others(np.flatnonzero(bad), row)}{bits}",
            _all(bad),
        )  # fmt: skip


def _counters(runs: Runs) -> Iterator[Finding]:
    """Find counters of a run that fall, or stand, from row to row."""
    if runs.run is None:
        return
    names, index = np.unique(runs.run, return_inverse=True)
    groups = [np.flatnonzero(index == k) for k in range(len(names))]
    for quantity in ("steps", "D", "C", "time"):
        if quantity not in runs.values:
            continue
        values, name = runs.values[quantity], runs.names[quantity]
        fallen = [(rows, k) for rows in groups if (k := _falls(values[rows])) is not None]
        if fallen:
            rows, k = fallen[0]
            more = f" (and in {len(fallen) - 1} more runs)" if len(fallen) > 1 else ""
            yield Finding(
                "counters", "doubtful",
                f"{runs.label(int(rows[k]))}: {name} falls from {exact(values[rows[k - 1]])} to "
                f"{exact(values[rows[k]])}{more}: was the run resumed, or are two runs under one name?",
                tuple(int(r[i]) for r, i in fallen),
            )  # fmt: skip


def _units(runs: Runs) -> Iterator[Finding]:
    """Find parameters and tokens in thousands, millions or billions, and columns of two units."""
    for quantity in ("N", "D"):
        if not runs.has(quantity):
            continue
        values, name = runs.values[quantity], runs.names[quantity]
        real = np.sort(np.unique(values[_positive(values)]))
        if not len(real):
            continue
        what = QUANTITIES[quantity].split(" ")[0]
        steps = real[1:] / real[:-1]
        if len(steps) and steps.max() >= _GAP:
            k = int(np.argmax(steps))
            row = int(np.flatnonzero(values == real[k])[0])
            yield Finding(
                "units", "doubtful",
                f"{runs.label(row)}: {name} = {short(real[k], 4)}, and the next larger one is "
                f"{short(real[k + 1], 4)}: are {what} "
                f"given in two units (B, M, thousands)?",
                (row,),
            )  # fmt: skip
        elif real[-1] < _FRACTIONS and (real != np.round(real)).any():
            row = int(np.flatnonzero(values == real[0])[0])
            yield Finding(
                "units", "doubtful",
                f"{runs.label(row)}: {name} = {short(real[0], 4)} (to {short(real[-1], 4)}) is no "
                f"number of {what}: is it in B, M "
                f"or thousands? Give whole {what}, or compute and its budget are off",
                (row,),
            )  # fmt: skip


def _convention(runs: Runs) -> Iterator[Finding]:
    """Find a column of parameters that is counted in two ways."""
    if "convention" in runs.values and len(labels := np.unique(runs.values["convention"])) > 1:
        rows = [int(np.flatnonzero(runs.values["convention"] == label)[0]) for label in labels[:2]]
        yield Finding(
            "convention", "impossible",
            f"{runs.label(rows[0])} and {runs.label(rows[1])} say two things in {runs.names['convention']}: one column "
            f"of parameters needs one convention",
            tuple(rows),
        )  # fmt: skip
    if not runs.has("N") or runs.run is None or not runs.counts:
        return
    from sld.data.counting.counted import CONVENTIONS  # families of models are of no use to who only loads a task

    N, name = runs.values["N"], runs.names["N"]
    fits: dict[int, list[str]] = {}
    for row, run in enumerate(runs.run):
        counted = runs.counts.get(run)
        if counted is None or not np.isfinite(N[row]):
            continue
        fits[row] = [c for c in CONVENTIONS if abs(N[row] - (n := counted.parameters(c))) <= _COUNTED * n]
    if odd := [row for row, found in fits.items() if not found]:
        counted = runs.counts[runs.run[odd[0]]]
        yield Finding(
            "convention", "doubtful",
            f"{runs.label(odd[0])}: {name} = {exact(N[odd[0]])} is no count of its configuration (total "
            f"{counted.total:,}, non-embedding {counted.non_embedding:,}){runs.others(np.array(odd), odd[0])}",
            tuple(odd),
        )  # fmt: skip
    known = {row: found for row, found in fits.items() if found}
    if known and not set.intersection(*(set(found) for found in known.values())):
        first = min(known)
        other = next((r for r, found in known.items() if not set(found) & set(known[first])), max(known))
        yield Finding(
            "convention", "impossible",
            f"{name} is the {known[first][0]} count in {runs.label(first)} ({exact(N[first])}) and "
            f"the {known[other][0]} "
            f"count in {runs.label(other)} ({exact(N[other])}): count all alike (sld count)",
            (first, other),
        )  # fmt: skip


def _twins(runs: Runs) -> Iterator[Finding]:
    """Find one run under two names: the same numbers in every row."""
    if runs.run is None or not (runs.has("loss") or runs.targets):
        return
    skipped = {*(runs.names.get(q) for q in ("run", "seed", "time")), *runs.names_of_rows}
    kept = [values for column, values in runs.settings.items() if column not in skipped]
    results = [runs.settings[c] for c in (*runs.targets, *([runs.names["loss"]] if "loss" in runs.names else []))]
    if len(kept) < 2:
        return
    block = np.column_stack(kept)
    rows_of: dict[str, list[int]] = {}
    for row, run in enumerate(runs.run):
        rows_of.setdefault(run, []).append(row)
    first_with: dict[bytes, str] = {}
    pairs = []
    for run, rows in rows_of.items():
        if _told_apart(np.concatenate([values[rows] for values in results])):
            first = first_with.setdefault(block[rows].tobytes(), run)
            pairs += [(first, run)] if first != run else []
    for k, (first, run) in enumerate(pairs[:_MOST_PAIRS]):
        seeds = runs.values["seed"][[rows_of[first][0], rows_of[run][0]]] if "seed" in runs.values else np.zeros(2)
        though = f" although their seeds are {exact(seeds[0])} and {exact(seeds[1])}" if seeds[0] != seeds[1] else ""
        more = len(pairs) - _MOST_PAIRS if k == _MOST_PAIRS - 1 else 0
        yield Finding(
            "twins", "doubtful",
            f"runs {first} and {run} agree in every number (last result "
            f"{exact(results[0][rows_of[run][-1]])}){though}: "
            f"one run under two names counts twice{f' (and {more} more such pairs)' if more > 0 else ''}",
            (*rows_of[first], *rows_of[run]),
        )  # fmt: skip


def _one_ratio(runs: Runs) -> Iterator[Finding]:
    """Find designs in which tokens are a fixed multiple of parameters."""
    if not runs.has("N", "D"):
        return
    N, D = runs.values["N"], runs.values["D"]
    usable = _positive(N, D)
    if len(np.unique(N[usable])) < 3 or usable.sum() < 3:
        return
    ratio = D[usable] / N[usable]
    middle = float(np.median(ratio))
    if np.all(np.abs(ratio / middle - 1) < _ONE_RATIO):
        yield Finding(
            "design", "doubtful",
            f"{runs.names['D']}/{runs.names['N']} is {short(middle, 4)} in all {int(usable.sum())} rows "
            f"({runs.first(usable)} and on): size and data cannot be told apart; add runs at another ratio",
        )  # fmt: skip


def _seeds(runs: Runs) -> Iterator[Finding]:
    """Say which rows differ only in seed: they are repeats and tell the noise."""
    if "seed" not in runs.values:
        return
    skipped = {*(runs.names.get(q) for q in ("run", "seed", "time", "loss")), *runs.targets, *runs.names_of_rows}
    kept = [values for column, values in runs.settings.items() if column not in skipped and not np.isnan(values).any()]
    if not kept:
        return
    points = np.unique(np.column_stack(kept), axis=0, return_inverse=True)[1].ravel()
    seeds = np.unique(np.column_stack([points, runs.values["seed"]]), axis=0)
    several = np.flatnonzero(np.bincount(seeds[:, 0].astype(np.intp)) > 1)
    rows = np.flatnonzero(np.isin(points, several))
    if len(rows):
        where = "1 point" if len(several) == 1 else f"{len(several)} points"
        yield Finding(
            "seeds", "note",
            f"{len(rows)} rows at {where} differ only in {runs.names['seed']} (first: "
            f"{runs.label(int(rows[0]))}): they are repeats, and their spread is the noise",
            tuple(int(r) for r in rows),
        )  # fmt: skip


_CHECKS: tuple[Callable[[Runs], Iterator[Finding]], ...] = (
    _compute, _experts, _tokens, _loss, _counters, _units, _convention, _twins, _one_ratio, _seeds,
)  # fmt: skip


# --- small things -----------------------------------------------------------------------------------------------------


def _positive(*columns: Array) -> Mask:
    good = np.ones(len(columns[0]), dtype=np.bool_)
    for values in columns:
        good &= np.isfinite(values) & (values > 0)
    return good


def _all(rows: Mask) -> tuple[int, ...]:
    return tuple(int(row) for row in np.flatnonzero(rows))


def _share(share: float) -> str:
    """Return a share of something in words that go before its name."""
    return f"{short(100 * share)} % of" if share < _MANY else f"{short(share)} times"


def _unit(factor: float) -> str | None:
    """Return the unit in which compute would fit 6ND, if one does."""
    low, high = _SAME_UNIT
    fitting = {name: abs(math.log(factor / unit)) for name, unit in _UNITS.items() if low <= factor / unit <= high}
    return min(fitting, key=lambda name: fitting[name]) if fitting else None


def _falls(values: Array) -> int | None:
    """Return the first place at which a counter falls although it rises elsewhere; None where it does not."""
    real = np.flatnonzero(np.isfinite(values))
    change = np.diff(values[real])
    falls = int((change < 0).sum())
    # from large to small is an order too, and what falls all the time is no counter of one run
    if not falls or not (change > 0).any() or falls > max(1, _RESUMES * len(change)):
        return None
    return int(real[int(np.argmax(change < 0)) + 1])


def _told_apart(results: Array) -> bool:
    """Tell whether results of a run have enough digits that another run has the same by no chance."""
    real = results[np.isfinite(results) & (results != 0)]
    least, digits = _SEVERAL
    return bool((_digits(real) >= _DIGITS).any()) or int((_digits(real) >= digits).sum()) >= least


def _digits(values: Array) -> Rows:
    """Return how many significant digits numbers have, ten at most."""
    found = np.full(len(values), 10, dtype=np.intp)
    for digits in range(9, 0, -1):
        rounded = np.array([float(f"{value:.{digits - 1}e}") for value in values])
        found[rounded == values] = digits
    return found


def _counted(runs: Runs) -> list[ModelCount | None]:
    """Return for each row what is counted of its run's configuration."""
    return [None] * runs.n if runs.run is None else [runs.counts.get(run) for run in runs.run]


def _vocabulary(counted: ModelCount | None) -> float:
    """Return the tokens in the vocabulary of a counted model, as far as its parts tell; NaN where they do not."""
    return math.nan if counted is None or counted.vocabulary is None else float(counted.vocabulary)
