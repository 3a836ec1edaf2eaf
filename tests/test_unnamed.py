"""Rows that count as repeats and differ in columns that nobody named are said to, with the columns' names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sld.data.table import table_from

CASES = Path(__file__).parents[2] / "shared" / "cases"


def rows(**more: list[object]) -> dict[str, list[object]]:
    """Six sizes, two optimisers, three seeds."""
    rng = np.random.default_rng(0)
    data: dict[str, list[object]] = {k: [] for k in ("N", "optimizer", "seed", "val_acc", "loss", *more)}
    k = 0
    for n in np.geomspace(1e6, 1e8, 6):
        for optimizer in ("adam", "sgd"):
            for seed in range(3):
                noise = float(rng.normal())
                loss = 2 + 100 * n**-0.3 + 0.3 * (optimizer == "sgd") + 0.01 * noise
                row = (float(n), optimizer, seed, 0.5 + 0.01 * noise, float(loss))
                for name, value in zip(("N", "optimizer", "seed", "val_acc", "loss"), row, strict=True):
                    data[name].append(value)
                for name, values in more.items():
                    data[name].append(values[k % len(values)])
                k += 1
    return data


def note(data: object, **roles: object) -> str:
    notes = table_from(data, target="loss", scale="N", **roles).notes  # type: ignore[arg-type]
    found = [text for text in notes if "counted as repeats differ" in text]
    assert len(found) <= 1
    return found[0] if found else ""


def test_the_columns_are_named_with_the_ways_out() -> None:
    assert note(rows()) == (
        "36 rows counted as repeats differ in optimizer (not named): group by it (--group optimizer), "
        "or keep rows of one kind"
    )


def test_a_column_with_a_role_is_not_named_again() -> None:
    assert note(rows(), group="optimizer") == ""


def test_seeds_row_numbers_and_measurements_are_what_repeats_have() -> None:
    data = rows(run_id=[f"r{k}" for k in range(36)], started=[f"2024-01-{k:02d}" for k in range(1, 37)])
    data["optimizer"] = ["adam"] * 36
    data["train_loss"] = [float(y) - 0.1 * k for k, y in enumerate(data["loss"])]  # type: ignore[arg-type]
    assert note(data) == ""


def test_numbers_of_few_levels_are_offered_as_variables() -> None:
    data = rows(depth=[8, 16, 32])
    data["seed"] = list(range(36))
    assert "differ in optimizer, depth (not named)" in note(data)
    assert "name numbers as variables (--covariate depth)" in note(data)


def test_a_column_that_adds_nothing_to_others_is_left_out() -> None:
    data = rows()
    data["curve"] = [f"x/{o}" for o in data["optimizer"]]
    assert "differ in optimizer (not named)" in note(data)


def test_rows_that_are_no_repeats_have_no_note() -> None:
    data = rows()
    data["N"] = [float(n) * (1 + 1e-3 * k) for k, n in enumerate(data["N"])]  # type: ignore[arg-type]
    assert note(data) == ""


def test_rows_left_out_do_not_shift_the_labels(tmp_path: Path) -> None:
    data = rows()
    data["loss"][0] = ""
    file = tmp_path / "runs.csv"
    lines = [",".join(data), *(",".join(map(str, row)) for row in zip(*data.values(), strict=True))]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert note(file, missing="drop").startswith("35 rows counted as repeats differ in optimizer")
    some = {k: v[:6] for k, v in data.items()}
    some["optimizer"] = ["sgd", *["adam"] * 5]
    some["N"] = [1e6, 1e6, 1e6, 1e7, 1e7, 1e7]
    assert note(some | {"loss": ["", 1.0, 2.0, 3.0, 4.0, 5.0]}, missing="drop") == ""


def test_columns_with_gaps_are_passed_over() -> None:
    data = rows(comment=["", "x"])
    assert "differ in optimizer (not named)" in note(data)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases beside the checkout")
def test_the_table_of_single_cells_names_its_algorithm() -> None:
    table = table_from(CASES / "singlecell_train.csv", target="mi_value", scale=["size", "umis_per_cell"])
    assert any(text.startswith("840 rows counted as repeats differ in algorithm (not named)") for text in table.notes)


def test_a_fit_says_what_was_noticed_while_reading() -> None:
    from sld import api

    law = api.fit(rows(), "E + A*N**-a", target="loss", scale="N", starts=2)
    assert any("counted as repeats differ in optimizer" in text for text in law.provenance["notes"])
