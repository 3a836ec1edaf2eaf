"""The seven bundled tasks: rebuilt from the measured rows to the byte, and honest about their split."""

import csv
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_cases import each

from sld.fit.kernel import evaluate
from sld.formula.expression import parse

TASKS = Path(__file__).resolve().parents[1] / "tasks"
NAMES = [f"nanolm_{e}" for e in ("chinchilla", "lr_batch", "data_repeat", "mixture", "moe", "context", "shape")]
HEADINGS = ["Origin and licence", "A row", "Split", "Numbers", "Known defects"]


def read_card(name: str) -> dict[str, Any]:
    return tomllib.loads((TASKS / name / "task.toml").read_text(encoding="utf-8"))


def read_rows(name: str, part: str) -> list[dict[str, str]]:
    with open(TASKS / name / f"{part}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def columns_of(card: dict[str, Any], kind: str) -> list[str]:
    return [entry["column"] for entry in card[kind]]


def costs(name: str, part: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    card, rows = read_card(name), read_rows(name, part)
    names = columns_of(card, "variable")
    columns = {c: np.array([float(row[c]) for row in rows]) for c in names}
    return evaluate(parse(card["cost"], names), columns, {})


def test_tasks_are_what_the_measured_rows_give(tmp_path: Path) -> None:
    script = TASKS / "nanolm" / "build_tasks.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True, capture_output=True)
    built = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert sorted(built) == sorted(
        f"{name}/{file}" for name in NAMES for file in ("task.toml", "README.md", "train.csv", "held_out.csv")
    )
    for path, content in built.items():
        assert content == (TASKS / path).read_bytes(), f"{path} is not what build_tasks.py makes; run it and commit"


@each("name", NAMES)
def test_columns_are_those_of_the_card_and_all_numbers_are_finite(name: str) -> None:
    card = read_card(name)
    group = [card["group"]["column"]] if "group" in card else []
    numeric = columns_of(card, "variable") + columns_of(card, "target")
    assert card["name"] == name
    for part in ("train", "held_out"):
        for row in read_rows(name, part):
            assert list(row) == group + numeric
            assert all(np.isfinite(float(row[c])) for c in numeric)


@each("name", NAMES)
def test_no_held_out_point_is_trained_on(name: str) -> None:
    card = read_card(name)
    keys = columns_of(card, "variable") + ([card["group"]["column"]] if "group" in card else [])
    train, held_out = ({tuple(row[k] for k in keys) for row in read_rows(name, part)} for part in ("train", "held_out"))
    assert train and held_out and not train & held_out


@each("name", NAMES)
def test_held_out_rows_lie_beyond_training_where_the_card_says_so(name: str) -> None:
    card, train, held_out = read_card(name), read_rows(name, "train"), read_rows(name, "held_out")
    for variable in card["variable"]:
        column = variable["column"]
        beyond = max(float(r[column]) for r in held_out) > max(float(r[column]) for r in train)
        assert beyond == variable.get("extrapolate", False), f"{column}: extrapolate should be {beyond}"


@each("name", NAMES)
def test_no_training_row_costs_more_than_the_largest_held_out_one(name: str) -> None:
    assert costs(name, "held_out").max() >= costs(name, "train").max()


def test_seeds_remain_as_repeated_points() -> None:
    train = read_rows("nanolm_chinchilla", "train")
    points = [(row["N"], row["D"]) for row in train]
    assert len(points) == 108 and len(set(points)) == 59
    assert max(points.count(point) for point in set(points)) == 2


def test_shares_sum_to_one() -> None:
    for row in read_rows("nanolm_mixture", "train") + read_rows("nanolm_mixture", "held_out"):
        assert sum(float(row[f"mix_{d}"]) for d in ("english", "python", "c")) == pytest.approx(1.0, abs=2e-5)


@each("name", NAMES)
def test_published_laws_parse_and_list_their_constants(name: str) -> None:
    card = read_card(name)
    variables, targets = columns_of(card, "variable"), columns_of(card, "target")
    shares = [v["column"] for v in card["variable"] if v["role"] == "proportion"]
    assert len(card["law"]) >= 2
    for law in card["law"]:
        for j, _ in enumerate(targets):
            own = shares[j] if len(shares) == len(targets) else None
            expression = parse(law["expression"], variables, shares=shares, own=own)
            assert set(expression.constants) == set(law["constants"]), law["name"]
            assert len(expression.constants) <= card["max_constants"], law["name"]
        assert law["source"]


@each("name", NAMES)
def test_readme_states_origin_split_noise_and_defects(name: str) -> None:
    text = (TASKS / name / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == HEADINGS
    assert "CC0" in text and "**Noise between seeds.**" in text
