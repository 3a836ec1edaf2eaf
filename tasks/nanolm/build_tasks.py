#!/usr/bin/env python3
"""Build the seven bundled tasks from the measured runs.

    python tasks/nanolm/build_tasks.py [--source DIR] [--out DIR]

Reads `measured/*.csv` (one row per training run, made by `scripts/finish.py`) and writes, for each task,
`train.csv` and `held_out.csv`, beside a copy of its card and its README. The numbers in a README (ranges, noise
between seeds, priors against the data) stand between two marker lines and are computed here from the rows.
Only the standard library is used, and every cell is copied as text, so that the files are the same to the byte
wherever they are built.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- numbers: written by tasks/nanolm/build_tasks.py -->"
END = "<!-- end of numbers -->"

Row = dict[str, str]
Tables = Mapping[str, list[Row]]


@dataclass(frozen=True)
class Recipe:
    """How one task is made.

    Attributes:
        table: Name of the measured table.
        columns: For each column of the task, a column of the table or a function of a row.
        select: Picks the rows that enter the task.
        spread_by: Column of the task by which the noise between seeds is broken down.
        remarks: Further computed sentences for the README.
    """

    table: str
    columns: Mapping[str, str | Callable[[Row], str]]
    select: Callable[[list[Row]], list[Row]] = list
    spread_by: str = ""
    remarks: Callable[[Tables], list[str]] = lambda tables: []


def best_learning_rate(rows: list[Row]) -> list[Row]:
    """Keep the run with the lowest loss among those that differ in the learning rate alone."""
    best: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = (row["n_params_non_embedding"], row["tokens"], row["seed"])
        if key not in best or float(row["val_loss"]) < float(best[key]["val_loss"]):
            best[key] = row
    return list(best.values())


def usual_batch(rows: list[Row]) -> list[Row]:
    """Drop the runs at another batch size than nearly all others (two of the depth and width sweep)."""
    return [row for row in rows if row["batch_tokens"] == "16384"]


def setting(row: Row) -> str:
    """Name the setting of a mixture run by its tokens and batch, in units of 2^20 and 2^10."""
    return f"D{int(row['tokens']) >> 20}M_B{int(row['batch_tokens']) >> 10}K"


def dense_parameters(row: Row) -> str:
    """Return the parameters of the dense model of the same depth and width."""
    return str(12 * int(row["n_layers"]) * int(row["d_model"]) ** 2)


def same_rate_spread(tables: Tables) -> list[str]:
    """Noise of `chinchilla` at equal learning rate, and what the choice of the best one does to it."""
    rows = tables["chinchilla"]
    equal = _collect(rows, ("n_params_non_embedding", "tokens", "lr"), "val_loss")
    chosen: dict[tuple[float, float], dict[str, float]] = {}
    for row in best_learning_rate(rows):
        cell = (float(row["n_params_non_embedding"]), float(row["tokens"]))
        chosen.setdefault(cell, {})[row["seed"]] = float(row["val_loss"])
    short = [2 * (c["1"] - c["0"]) / (c["1"] + c["0"]) for (_, d), c in chosen.items() if "1" in c and d < 5e6]
    return [
        f"At equal learning rate the two seeds spread by {_percent(_spread(equal.values()))}. Seed 0 tried three "
        f"rates up to D = 16M and seed 1 one, so seed 1 lies {_percent(_mean(short))} higher on average up to D = 4M."
    ]


def single_epoch_spread(tables: Tables) -> list[str]:
    """Noise of `data_repeat` from its single-epoch runs, which `chinchilla` has too."""
    keys = ("n_params_non_embedding", "tokens", "lr", "seed")
    twin = {tuple(row[k] for k in keys): float(row["val_loss"]) for row in tables["chinchilla"]}
    pairs = [
        (float(row["val_loss"]), twin[key])
        for row in tables["data_repeat"]
        if float(row["epochs"]) < 1.01 and (key := tuple(row[k] for k in keys)) in twin
    ]
    apart = [pair for pair in pairs if pair[0] != pair[1]]
    return [
        f"No point was run twice. {len(pairs)} single-epoch points also stand in `nanolm_chinchilla` with the same "
        f"seed: {len(pairs) - len(apart)} agree to the last digit, the other {len(apart)} spread by "
        f"{_percent(_spread(apart))} (at most {_percent(max(abs(a - b) / b for a, b in apart))} apart)."
    ]


def roughness(tables: Tables) -> list[str]:
    """Bound the noise of `lr_batch` from fourth differences of log loss along the equally spaced log rates."""
    curves: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for row in tables["lr_batch"]:
        key = (row["n_params_non_embedding"], row["tokens"], row["batch_tokens"])
        curves.setdefault(key, []).append((float(row["lr"]), math.log(float(row["val_loss"]))))
    fourth: list[tuple[bool, bool, float]] = []  # (a run of under 1,000 steps, above the best rate, difference)
    for (_, tokens, batch), curve in curves.items():
        losses = [loss for _, loss in sorted(curve)]
        differences = losses
        for _ in range(4):
            differences = [b - a for a, b in pairwise(differences)]
        best = losses.index(min(losses))
        fourth += [(int(tokens) < 1000 * int(batch), i + 2 > best, value) for i, value in enumerate(differences)]

    def noise(wanted: Callable[[bool, bool], bool]) -> str:
        # independent noise of deviation s has fourth differences of deviation s * sqrt(1 + 16 + 36 + 16 + 1)
        return _percent(
            _root_mean_square(value / math.sqrt(70) for short, above, value in fourth if wanted(short, above))
        )

    return [
        "No point was run twice. The roughness of the curves over the learning rate (fourth differences of log loss) "
        f"bounds the noise from above: {noise(lambda short, above: short)} in runs of under 1,000 steps and "
        f"{noise(lambda short, above: not short)} in longer ones; {noise(lambda short, above: not above)} up to the "
        f"best rate and {noise(lambda short, above: above)} above it."
    ]


def never_repeated(tables: Tables) -> list[str]:
    """Say that a task has no repeats."""
    return ["No point was run twice, so these rows carry no noise floor of their own."]


NON_EMBEDDING = "n_params_non_embedding"
RECIPES: Mapping[str, Recipe] = {
    "nanolm_chinchilla": Recipe(
        "chinchilla",
        {"N": NON_EMBEDDING, "D": "tokens", "loss": "val_loss"},
        select=best_learning_rate,
        spread_by="D",
        remarks=same_rate_spread,
    ),
    "nanolm_lr_batch": Recipe(
        "lr_batch",
        {"lr": "lr", "batch": "batch_tokens", "N": NON_EMBEDDING, "D": "tokens", "loss": "val_loss"},
        remarks=roughness,
    ),
    "nanolm_data_repeat": Recipe(
        "data_repeat",
        {"N": NON_EMBEDDING, "D": "tokens", "U": "unique_tokens", "loss": "val_loss"},
        remarks=single_epoch_spread,
    ),
    "nanolm_mixture": Recipe(
        "mixture",
        {
            "setting": setting,
            "N": NON_EMBEDDING,
            "mix_english": "mix_english",
            "mix_python": "mix_python",
            "mix_c": "mix_c",
            "loss_english": "val_loss_english",
            "loss_python": "val_loss_python",
            "loss_c": "val_loss_c",
        },
        remarks=never_repeated,
    ),
    "nanolm_moe": Recipe(
        "moe",
        {"experts": "experts", "N": dense_parameters, "D": "tokens", "loss": "val_loss"},
        spread_by="D",
    ),
    "nanolm_context": Recipe(
        "context",
        {"context": "context", "N": NON_EMBEDDING, "loss": "val_loss"},
        spread_by="N",
    ),
    "nanolm_shape": Recipe(
        "shape",
        {"N": NON_EMBEDDING, "depth": "n_layers", "loss": "val_loss"},
        select=usual_batch,
        spread_by="depth",
    ),
}


@dataclass(frozen=True)
class Card:
    """The columns of a `task.toml`."""

    group: tuple[str, ...]
    variables: tuple[Mapping[str, str], ...]
    targets: tuple[str, ...]

    @staticmethod
    def read(text: str) -> Card:
        """Read the text of a card."""
        data = tomllib.loads(text)
        group = (data["group"]["column"],) if "group" in data else ()
        return Card(group, tuple(data["variable"]), tuple(t["column"] for t in data["target"]))

    @property
    def point(self) -> tuple[str, ...]:
        """The columns that say which point a row measures."""
        return (*self.group, *(v["column"] for v in self.variables))


def rows_of(recipe: Recipe, rows: list[Row], card: Card) -> tuple[list[Row], list[Row]]:
    """Return the task's training and held-out rows, each sorted by point, then by seed."""
    parts: dict[str, list[tuple[tuple[str | float, ...], Row]]] = {"train": [], "test": []}
    for row in recipe.select(rows):
        made = {c: row[source] if isinstance(source, str) else source(row) for c, source in recipe.columns.items()}
        order = (*(made[c] if c in card.group else float(made[c]) for c in card.point), int(row["seed"]))
        parts[row["split"]].append((order, made))
    train, held_out = ([made for _, made in sorted(part, key=lambda item: item[0])] for part in parts.values())
    return train, held_out


def csv_text(rows: Sequence[Row]) -> str:
    """Return `rows` as CSV with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def numbers(card: Card, recipe: Recipe, train: list[Row], held_out: list[Row], tables: Tables) -> str:
    """Return the computed section of a README."""
    variables = [v["column"] for v in card.variables]
    lines = [
        "| | training | held out |",
        "|---|---|---|",
        f"| rows | {len(train)} | {len(held_out)} |",
        f"| distinct points | {len(_points(train, card))} | {len(_points(held_out, card))} |",
    ]
    for column in (*variables, *card.targets):
        ranges = [_range(rows, column, levels=column in variables) for rows in (train, held_out)]
        lines.append(f"| `{column}` | {ranges[0]} | {ranges[1]} |")
    lines += ["", *_noise(card, recipe, train, held_out, tables), "", *_priors(card, train + held_out)]
    return "\n".join(lines)


def _noise(card: Card, recipe: Recipe, train: list[Row], held_out: list[Row], tables: Tables) -> list[str]:
    """Describe the spread between seeds."""
    points = _points(train + held_out, card)
    repeated = {point: losses for point, losses in points.items() if len(losses) > 1}
    sentences = ["**Noise between seeds.**"]
    if repeated:
        how_many = f"All {len(points)}" if len(repeated) == len(points) else f"{len(repeated)} of the {len(points)}"
        absolute = _spread(repeated.values(), relative=False)
        sentences += [
            f"{how_many} points were run with two seeds. Their relative standard deviation is "
            f"{_percent(_spread(repeated.values()))} (root mean square over points; {absolute:.3f} nats per byte).",
            _ceiling(_points(held_out, card)),
        ]
    lines = [" ".join([*sentences, *recipe.remarks(tables)])]
    if repeated and recipe.spread_by:
        place = card.point.index(recipe.spread_by)
        lines += [
            "",
            f"| `{recipe.spread_by}` | points with two seeds | relative standard deviation |",
            "|---|---|---|",
        ]
        for level in sorted({point[place] for point in repeated}, key=float):
            at_level = [losses for point, losses in repeated.items() if point[place] == level]
            lines.append(f"| {_count(level)} | {len(at_level)} | {_percent(_spread(at_level))} |")
    return lines


def _priors(card: Card, rows: list[Row]) -> list[str]:
    """Compare the declared directions with the rows."""
    lines = ["**Declared priors against the data** (neighbouring points that differ in that variable alone).", ""]
    lines += ["| variable | target | declared | pairs | against | largest reversal |", "|---|---|---|---|---|---|"]
    for variable in card.variables:
        if "monotone" not in variable:
            continue
        for target in card.targets:
            steps = _steps(rows, card, variable["column"], target)
            wrong = [abs(step) for step in steps if (step > 0) == (variable["monotone"] == "decreasing") and step]
            worst = _percent(max(wrong)) if wrong else "none"
            cells = (f"`{variable['column']}`", f"`{target}`", variable["monotone"], len(steps), len(wrong), worst)
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return lines


def _points(rows: Iterable[Row], card: Card, target: str = "") -> dict[tuple[str, ...], tuple[float, ...]]:
    """Collect the values of a target (the first) of all rows at each point."""
    return _collect(rows, card.point, target or card.targets[0])


def _collect(rows: Iterable[Row], keys: Sequence[str], column: str) -> dict[tuple[str, ...], tuple[float, ...]]:
    collected: dict[tuple[str, ...], tuple[float, ...]] = {}
    for row in rows:
        key = tuple(row[k] for k in keys)
        collected[key] = (*collected.get(key, ()), float(row[column]))
    return collected


def _ceiling(points: Mapping[tuple[str, ...], Sequence[float]]) -> str:
    """Say how much of the held-out variance noise alone makes up."""
    repeated = [losses for losses in points.values() if len(losses) > 1]
    if not repeated:
        return "No held-out point was repeated."
    losses = [loss for at_point in points.values() for loss in at_point]
    variance = _mean((loss - _mean(losses)) ** 2 for loss in losses)
    ceiling = 1 - _spread(repeated, relative=False) ** 2 / variance
    shown = "above 0.999" if ceiling > 0.999 else f"near {ceiling:.3f}"
    return f"Going by the repeated held-out points, noise alone keeps the held-out R² of a perfect law {shown}."


def _steps(rows: list[Row], card: Card, variable: str, target: str) -> list[float]:
    """Return the relative change of a target between neighbouring points along a variable, the rest being equal."""
    place = card.point.index(variable)
    lines: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for point, losses in _points(rows, card, target).items():
        lines.setdefault((*point[:place], *point[place + 1 :]), []).append((float(point[place]), _mean(losses)))
    return [(b - a) / a for line in lines.values() for (_, a), (_, b) in pairwise(sorted(line))]


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


def _root_mean_square(values: Iterable[float]) -> float:
    return math.sqrt(_mean(v * v for v in values))


def _spread(points: Iterable[Sequence[float]], *, relative: bool = True) -> float:
    """Root mean square over repeated points of the sample standard deviation, relative to the mean or not."""
    squares = []
    for losses in points:
        if len(losses) > 1:
            middle = _mean(losses)
            variance = math.fsum((v - middle) ** 2 for v in losses) / (len(losses) - 1)
            squares.append(variance / (middle**2 if relative else 1.0))
    return math.sqrt(_mean(squares))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _count(text: str) -> str:
    value = float(text)
    return f"{int(value):,}" if value == int(value) and value >= 1000 else f"{value:.4g}"


def _range(rows: Sequence[Row], column: str, *, levels: bool) -> str:
    values = sorted({row[column] for row in rows}, key=float)
    text = f"{_count(values[0])} to {_count(values[-1])}" if len(values) > 1 else _count(values[0])
    return f"{text} ({len(values)} levels)" if levels and len(values) > 1 else text


def with_numbers(readme: str, block: str) -> str:
    """Return `readme` with the text between the markers replaced by `block`."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"a README needs the two marker lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n{block}\n{end}{after}"


def build(source: Path, out: Path) -> None:
    """Write all tasks below `out` from the measured tables in `source`."""
    tables: dict[str, list[Row]] = {}
    for recipe in RECIPES.values():
        with open(source / f"{recipe.table}.csv", newline="", encoding="utf-8") as file:
            tables[recipe.table] = list(csv.DictReader(file))
    for name, recipe in RECIPES.items():
        card_text = (HERE.parent / name / "task.toml").read_text(encoding="utf-8")
        readme = (HERE.parent / name / "README.md").read_text(encoding="utf-8")
        card = Card.read(card_text)
        train, held_out = rows_of(recipe, tables[recipe.table], card)
        files = {
            "task.toml": card_text,
            "README.md": with_numbers(readme, numbers(card, recipe, train, held_out, tables)),
            "train.csv": csv_text(train),
            "held_out.csv": csv_text(held_out),
        }
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for file_name, text in files.items():
            (folder / file_name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {len(train)} training rows, {len(held_out)} held out")


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Build the seven bundled tasks from the measured runs.")
    parser.add_argument("--source", type=Path, default=HERE / "measured", help="folder with the measured CSV files")
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder that receives one folder per task")
    args = parser.parse_args()
    build(args.source, args.out)


if __name__ == "__main__":
    main()
