"""Write the tables of this folder from the bundled task nanolm_chinchilla: `python examples/make_tables.py`.

They look as people's own tables do: sizes are written 24.6k and 1.05M, and there are columns that no law uses. The
rows are measured (`tasks/nanolm_chinchilla/README.md`) and CC0, as those of the task.
"""

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
TASK = HERE.parent / "tasks" / "nanolm_chinchilla"

Row = Mapping[str, str]


def size(number: float) -> str:
    """Return a number as people write it, to three digits: 24.6k, 1.05M."""
    for factor, suffix in ((1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g}{suffix}"
    return f"{number:g}"


def runs(file: str) -> list[Row]:
    """Return the rows of a file of the task as a user's table has them."""
    with (TASK / file).open(encoding="utf-8", newline="") as lines:
        rows = [(float(row["N"]), float(row["D"]), row["loss"]) for row in csv.DictReader(lines)]
    return [
        {
            "run": f"run-{i:03}",
            "params": size(n),
            "tokens": size(d),
            "flops": f"{6 * n * d:.3g}",
            "loss": f"{float(loss):.4f}",
        }
        for i, (n, d, loss) in enumerate(rows, start=1)
    ]


def shuffled(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the rows with their losses dealt out anew, so that no law is left to find."""
    losses = [row["loss"] for row in rows]
    random.Random(seed).shuffle(losses)
    return [{**row, "loss": loss} for row, loss in zip(rows, losses, strict=True)]


def curves(rows: Sequence[Row]) -> list[Row]:
    """Return a column per size and a line per token count, as a tracker exports curves; seeds after the first go."""
    sizes = list(dict.fromkeys(row["params"] for row in rows))
    steps = sorted(dict.fromkeys(row["tokens"] for row in rows), key=_number)
    first = {(row["tokens"], row["params"]): row["loss"] for row in reversed(rows)}
    return [{"Step": tokens, **{f"size-{n} - loss": first.get((tokens, n), "") for n in sizes}} for tokens in steps]


def _number(text: str) -> float:
    return float(text.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(text[-1], 1.0)


def tables() -> dict[str, list[Row]]:
    """Return every table of this folder by its name."""
    small = runs("train.csv")
    return {
        "runs.csv": small,
        "larger_runs.csv": runs("held_out.csv"),
        "shuffled_runs.csv": shuffled(small, seed=1),
        "curves.csv": curves(small),
    }


def written(rows: Sequence[Row]) -> str:
    """Return rows as CSV."""
    return "".join(",".join(line) + "\n" for line in (list(rows[0]), *(list(row.values()) for row in rows)))


if __name__ == "__main__":
    for name, rows in tables().items():
        (HERE / name).write_text(written(rows), encoding="utf-8")
