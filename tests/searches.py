"""Small tables with planted laws, and searches of them, for the tests of the search."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sld.data.table import Array, Table, table_from
from sld.laws.law import LAW_FILE
from sld.search.discovery import SearchSettings, discover
from sld.search.outcome import Discovery
from sld.search.run_folder import EVENTS

CATALOGUE = ("catalogue", "enumeration")


def chinchilla(n: Array, d: Array) -> Array:
    # Hoffmann et al. 2022, approach 3
    return 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28


def two_scales(noise: float = 0.0, n_n: int = 6, n_d: int = 5) -> Table:
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, n_n), np.geomspace(1e9, 1e12, n_d)))
    loss = chinchilla(n, d) * (1 + noise * np.random.default_rng(0).normal(size=len(n)))
    return table_from({"N": n, "D": d, "loss": loss}, target="loss", scale=["N", "D"])


def one_scale(n_rows: int = 14) -> Table:
    x = np.geomspace(1, 1e4, n_rows)
    rng = np.random.default_rng(1)
    return table_from({"N": x, "y": 2 + 3 * x**-0.5 + 0.002 * rng.normal(size=n_rows)}, target="y", scale="N")


def grouped() -> Table:
    x = np.tile(np.geomspace(1, 1e4, 10), 3)
    g = np.repeat(["b", "a", "ü"], 10)
    level = {"b": 1.0, "a": 2.0, "ü": 3.0}
    y = [level[k] + (1 + level[k]) * v ** (-0.2 * level[k]) for k, v in zip(g, x, strict=True)]
    return table_from({"N": x, "loss": y, "family": g}, target="loss", scale="N", group="family")


def mixture(own: bool = True) -> Table:
    p = np.random.default_rng(0).dirichlet([2, 2, 2], 40)
    columns = {"a": p[:, 0], "b": p[:, 1], "c": p[:, 2]}
    y = {f"loss_{k}": 2 + i / 2 + (1 + i) * np.exp(-3 * v) for i, (k, v) in enumerate(columns.items())}
    targets = list(y) if own else ["loss_a", "loss_b"]
    return table_from({**columns, **y}, target=targets, proportion=list(columns))


def search(table: Table, budget: str = "300fits", **options: Any) -> Discovery:
    """Search with the settings among the options; the others are of `discover` itself."""
    settings: dict[str, Any] = {"budget": budget, "workers": 1}
    settings |= {k: options.pop(k) for k in [f.name for f in fields(SearchSettings)] if k in options}
    return discover(table, SearchSettings(**settings), **options)


def events(folder: Path) -> list[dict[str, Any]]:
    """What a run recorded, less the clock."""
    lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "t"} for line in lines]


def law_bytes(folder: Path) -> bytes:
    return (folder / LAW_FILE).read_bytes()
