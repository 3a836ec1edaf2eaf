"""How `sld predict` and `sld score` look."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from math import floor, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.cli.output import remark, say, say_json, say_table, shown
from sld.core.numbers import exact, short

if TYPE_CHECKING:
    from sld.core.arrays import Array
    from sld.data.scoring import Scores

_ENDS = ("_low", "_high")  # of the columns with the ends of an interval
_LONG = 1e5  # from here on powers of ten are easier to read


def predictions(rows: Iterator[list[str]], out: Path | None) -> None:
    """Write the CSV of `sld predict`."""
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
        return
    from sld.cli.show.files import written
    from sld.core.files import write_text_atomic

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write_text_atomic(out, buffer.getvalue())
    written(out)


def rounded(predicted: Mapping[str, Array]) -> dict[str, list[str]]:
    """Return the columns as people read them.

    A number has so many digits that rounding moves it by a twentieth of its interval at most, and three at least;
    six where there is no interval.
    """
    texts: dict[str, list[str]] = {}
    for name, values in predicted.items():
        ends = [predicted[f"{name}{end}"] for end in _ENDS if f"{name}{end}" in predicted]
        if name in texts:
            continue
        if len(ends) < 2:
            texts[name] = [exact(v) for v in values.tolist()]
            continue
        rows = zip(values.tolist(), ends[0].tolist(), ends[1].tolist(), strict=True)
        texts |= dict(zip((name, *(f"{name}{end}" for end in _ENDS)), _alike(rows), strict=True))
    return {name: texts[name] for name in predicted}


def _alike(rows: Iterable[tuple[float, float, float]]) -> list[list[str]]:
    """Return the texts of values, lower and upper ends: those of a row end at one decimal place."""
    columns: list[list[str]] = [[], [], []]
    for value, low, high in rows:
        width = high - low
        known = isfinite(value) and isfinite(width) and width > 0
        last = floor(log10(width)) - 1 if known else 0
        if known and value:
            last = min(last, floor(log10(abs(value))) - 2)
        for column, number in zip(columns, (value, low, high), strict=True):
            column.append(_to(number, last) if known else exact(number))
    return columns


def _to(number: float, last: int) -> str:
    """Return a number whose last digit stands for 10**last, zeros at the end included where that is a decimal."""
    if last < 0 and abs(number) < _LONG:
        return f"{number:.{-last}f}"
    digits = floor(log10(abs(number))) - last + 1 if number else 1
    return short(round(number, -last), max(digits, 1))


def warn_of_verdict(caution: str) -> None:
    """Say so where the law itself says not to use it."""
    if caution:
        remark(f"warning: {caution}")


def warn_of_gaps(predicted: Mapping[str, Any]) -> None:
    """Say so where the law gives no number: beyond the domain of its formula."""
    for name, values in predicted.items():
        gaps = sum(1 for value in values.tolist() if not isfinite(value))
        if gaps and not name.endswith(("_low", "_high")):
            remark(f"{name}: no finite prediction for {gaps} of {len(values)} points (outside the formula's domain)")


def predictions_json(
    predicted: Mapping[str, Any], law: str, out: Path | None, promised: Mapping[str, Any] | None = None
) -> None:
    """Show `sld predict --json`; `promised` is up to where a law from few rows promises anything."""
    n_rows = len(next(iter(predicted.values())))
    found = {"law": law, "n_rows": n_rows, "predictions": predicted, "out": None if out is None else str(out)}
    say_json(found | ({"horizon": promised["horizon"]} if promised else {}))


def scores(result: Scores, json: bool) -> None:
    """Show `sld score`."""
    if json:
        say_json(result.to_json())
        return
    if result.failed:
        say(f"failed: no finite prediction on some of the {result.n_rows} rows (counted as R² = -1)")
        return
    say_table(
        [
            ["R² pooled", shown(result.r2), "1 is perfect, 0 no better than the mean of these rows"],
            ["R² within groups", shown(result.r2_within), "the mean of each group's own R²"],
            ["NMSE", shown(result.nmse), "mean squared error / variance"],
            ["NMAE", shown(result.nmae), "mean absolute error / mean absolute deviation"],
            ["ARE", shown(result.are), "mean of |error / value|"],
            ["rows", str(result.n_rows), ""],
        ],
        indent="",
    )
