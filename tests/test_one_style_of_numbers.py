"""Numbers for people are written in one way: by `sld.core.numbers`, never by a format of the place."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from sld.core.numbers import exact, short, signed
from sld.formula.expression import format_number, parse

PACKAGE = Path(__file__).resolve().parents[1] / "sld"
# what models read, children of other programs, formulas, files that are read again
NOT_FOR_PEOPLE = ("search/llm/", "search/proposing/", "search/run_folder.py", "chat/", "board/programs/", "formula/")
PLAIN = re.compile(r"(?<!float\(f.)\{[^{}\n]*:[+]?(?:\.\d)?[ge]\}")
# per cent of a level, seconds and constants are small numbers that were chosen to be read
CHOSEN = re.compile(r"level|seconds|[A-Z]{3}|\bwindow|delta|\blimit:g|>>>|float\(f|{n:\.0e}")


def test_no_sentence_formats_a_number_by_itself() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(NOT_FOR_PEOPLE) or name == "core/numbers.py":
            continue
        for k, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            found += [f"sld/{name}:{k}: {m[0]}" for m in PLAIN.finditer(line) if not CHOSEN.search(line)]
    assert found == [], "use short(x, digits) of sld.core.numbers"


def test_a_number_has_its_digits_and_a_power_of_ten_only_where_it_is_long() -> None:
    rng = np.random.default_rng(0)
    for x in (rng.choice([-1, 1], 500) * 10 ** rng.uniform(-12, 25, 500)).tolist():
        for digits in (1, 2, 3, 4, 6):
            text = short(x, digits)
            assert math.isclose(float(text), x, rel_tol=0.5001 * 10 ** (1 - digits))
            assert "e+" not in text and "e-0" not in text and ("e" in text) == (not 9.5e-5 <= abs(float(text)) < 1e5)
    assert [short(x) for x in (98304, 1e5, 0, -0.5, math.inf)] == ["98304", "1e5", "0", "-0.5", "inf"]
    assert (exact(math.nan), short(math.nan), signed(3.14159), signed(-2e-7)) == ("nan", "-", "+3.1", "-2e-7")


def test_numbers_in_formulas_have_the_same_powers_of_ten_and_read_back() -> None:
    rng = np.random.default_rng(1)
    drawn: list[float] = (rng.choice([-1, 1], 500) * 10 ** rng.uniform(-300, 300, 500)).tolist()
    for x in [*drawn, 6e15, -1.25e15, 2.0**53, 1e-5]:
        text = format_number(x)
        assert float(text) == x and "e+" not in text and "e-0" not in text
    assert parse("6e15*N*2e-7", ["N"]).text == "6e15*N*2e-7"
