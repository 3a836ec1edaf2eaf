"""How `sld predict` and `sld score` look."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.cli.output import remark, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.data.scoring import Scores


def predictions(rows: Iterator[list[str]], out: Path | None) -> None:
    """Write the CSV of `sld predict`."""
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
        return
    from sld.core.files import write_text_atomic

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write_text_atomic(out, buffer.getvalue())
    remark(f"written to {out}")


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
