"""Results of reinforcement learning as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(items: Sequence[Any]) -> DataFrame:
    """Return a row for each dataclass, a column for each number, three where it has an interval."""
    import pandas as pd

    rows = []
    for item in items:
        row: dict[str, Any] = {}
        for key, value in asdict(item).items():
            if isinstance(value, dict):
                row |= {key: value["value"], f"{key}_low": value["low"], f"{key}_high": value["high"]}
            elif value is not None:
                row[key] = value
        rows.append(row)
    return pd.DataFrame(rows)
