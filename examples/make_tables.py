"""Write the tables of this folder: `python examples/make_tables.py`.

Tables of runs come from the bundled task nanolm_chinchilla. They look as people's own tables do: sizes are written
24.6k and 1.05M, and there are columns that no law uses. The rows are measured (`tasks/nanolm_chinchilla/README.md`)
and CC0, as those of the task. Tables of scores, `models.csv`, `families.csv` and `problems.csv`, and of reinforcement
learning, `recipes.csv` and `updates.csv`, are simulated from the formulas below: so it is known what a forecast should
find.
"""

import csv
import math
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


def loss_of(params: float, tokens: float) -> float:
    """Return the loss of the simulated models, with the constants of Besiroglu et al. (arXiv 2404.10102)."""
    return 1.8172 + 482.01 * params**-0.3478 + 2085.43 * tokens**-0.3658


def score_of(loss: float) -> float:
    """Return their score on a quiz with four choices: a quarter by guessing, all of it far below a loss of 2.3."""
    return 0.25 + 0.75 / (1 + math.exp(7 * (loss - 2.3)))


def models(seed: int) -> list[Row]:
    """Return simulated models: sizes, loss with noise, and the share right of 1,000 questions of a quiz."""
    draw, rows = random.Random(seed), []
    for params in (1e8, 2.5e8, 6e8, 1.5e9, 4e9, 1.2e10):
        for ratio in (10, 20, 60):
            loss = loss_of(params, ratio * params) * math.exp(draw.gauss(0, 0.002))
            right = sum(draw.random() < score_of(loss) for _ in range(1000))
            rows.append(
                {
                    "params": f"{params:g}",
                    "tokens": f"{ratio * params:g}",
                    "loss": f"{loss:.4f}",
                    "quiz": f"{right / 1000:.3f}",
                }
            )
    return rows


def skills_of(params: float, tokens: float, family: tuple[float, float]) -> tuple[float, float]:
    """Return two skills of a simulated model: knowing, and working things out, which needs size and tokens together."""
    n, d = math.log10(params / 5e9), math.log10(tokens / 2e12)
    return family[0] + 1.1 * n + 0.5 * d, family[1] + 0.9 * n + 0.6 * d + 0.4 * n * d


def scores_of(skills: tuple[float, float]) -> dict[str, float]:
    """Return the scores of a simulated model on five benchmarks, two of them with four choices."""
    knows, works = skills
    chance = {"trivia": 0.0, "choices": 0.25, "reading": 0.25, "sums": 0.0, "code": 0.0}
    on = {
        "trivia": 1.2 * knows - 0.6,
        "choices": 1.1 * knows + 0.4 * works - 0.4,
        "reading": 0.9 * knows + 0.6 * works + 0.8,
        "sums": 0.2 * knows + 1.8 * works - 0.8,
        "code": 0.3 * knows + 1.3 * works - 1.3,
    }
    return {name: c + (1 - c) / (1 + math.exp(-on[name])) for name, c in chance.items()}


FAMILIES = {  # tokens, what each is better at than others, sizes
    "ash": (1.0e12, (0.1, -0.3), (1e9, 3e9, 7e9, 1.3e10)),
    "birch": (2.0e12, (0.2, 0.1), (7e9, 1.3e10)),
    "cedar": (3.0e11, (-0.2, -0.1), (1.6e8, 4.1e8, 1.4e9, 2.8e9, 6.9e9, 1.2e10)),
    "elm": (3.6e11, (-0.5, -0.4), (5.6e8, 1.1e9, 3e9, 7.1e9)),
    "fir": (4.0e12, (0.0, 0.5), (5e8, 1.8e9, 4e9, 7e9, 1.4e10)),
    "hazel": (3.0e12, (0.3, 0.3), (6e9, 3.4e10)),
    "larch": (6.0e12, (0.4, 0.0), (2e9, 7e9)),
    "maple": (1.4e12, (-0.3, 0.7), (1.3e9, 2.7e9)),
    "oak": (8.0e12, (0.3, 0.4), (8e9,)),
}


def families(seed: int) -> list[Row]:
    """Return simulated models of families, with noise and with scores that were not measured."""
    draw, rows = random.Random(seed), []
    for name, (tokens, level, sizes) in FAMILIES.items():
        for params in sizes:
            knows, works = skills_of(params, tokens, level)
            skills = knows + draw.gauss(0, 0.08), works + draw.gauss(0, 0.08)
            row = {"family": name, "params": f"{params:g}", "tokens": f"{tokens:g}"}
            for benchmark, score in scores_of(skills).items():
                measured = min(max(score + draw.gauss(0, 0.01), 0.0), 1.0)
                row[benchmark] = "" if draw.random() < 0.1 and name != "oak" else f"{measured:.3f}"
            rows.append(row)
    return rows


def problems(seed: int) -> list[Row]:
    """Return 150 simulated problems for each of two models: how many of 40 samples were right."""
    draw = random.Random(seed)
    rates = {"small": (0.25, 2.5), "large": (0.4, 2.0)}  # of a beta distribution of the problems' difficulty
    return [
        {
            "model": name,
            "problem": f"p{k:03}",
            "right": str(sum(draw.random() < rate for _ in range(40))),
            "samples": "40",
        }
        for name, (a, b) in rates.items()
        for k, rate in enumerate((draw.betavariate(a, b) for _ in range(150)), start=1)
    ]


def recipes(seed: int) -> list[Row]:
    """Return pass rates along reinforcement learning, two runs of each of two recipes: one is quick, one ends higher.

    The curve is that of arXiv 2510.13786, equation 1. A warm-up holds the first evaluations down, but not the one
    before training.
    """
    draw, rows = random.Random(seed), []
    for name, (end, middle) in {"small batch": (0.52, 1500.0), "large batch": (0.61, 4000.0)}.items():
        for run in (1, 2):
            asymptote, half = end + draw.gauss(0, 0.004), middle * math.exp(draw.gauss(0, 0.04))
            for hours in range(0, 16001, 250):
                gained = hours**1.5 / (hours**1.5 + half**1.5)
                passed = 0.2 + (asymptote - 0.2) * gained - 0.1 * hours / 250 * math.exp(-hours / 250)
                row = {"recipe": name, "seed": f"{run}", "gpu_hours": f"{hours}"}
                rows.append({**row, "pass_rate": f"{passed + draw.gauss(0, 0.006):.4f}"})
    return rows


def updates(seed: int) -> list[Row]:
    """Return returns along value-based reinforcement learning, at five ratios of updates to data and three batch sizes.

    Two runs of each. The steps to each return, and the best batch size, are those of the laws of arXiv 2502.04327.
    """
    draw, rows = random.Random(seed), []
    for ratio in (0.5, 1, 2, 4, 8):
        for batch in (128, 256, 512):
            off = 0.15 * math.log(batch / (300 * ratio**-0.3)) ** 2
            for run in (1, 2):
                luck = math.exp(off + draw.gauss(0, 0.03))
                steps = [0.0, *(luck * (3e4 * 1.6**j + 2e4 * 2.1**j * ratio**-0.6) for j in range(1, 6))]
                for step in range(20000, 800001, 20000):
                    k = max(j for j in range(6) if steps[j] <= step)
                    within = 0.0 if k == 5 else (step - steps[k]) / (steps[k + 1] - steps[k])
                    row = {"utd": f"{ratio:g}", "batch": f"{batch}", "seed": f"{run}", "env_steps": f"{step}"}
                    rows.append({**row, "return": f"{200 * (k + within) + draw.gauss(0, 8):.0f}"})
    return rows


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
        "models.csv": models(seed=1),
        "families.csv": families(seed=1),
        "problems.csv": problems(seed=1),
        "recipes.csv": recipes(seed=1),
        "updates.csv": updates(seed=1),
    }


def written(rows: Sequence[Row]) -> str:
    """Return rows as CSV."""
    return "".join(",".join(line) + "\n" for line in (list(rows[0]), *(list(row.values()) for row in rows)))


if __name__ == "__main__":
    for name, rows in tables().items():
        (HERE / name).write_text(written(rows), encoding="utf-8")
