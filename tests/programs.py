"""Small tables, and what a program is run under: every protection that this machine offers."""

from textwrap import dedent
from typing import Any

import pytest

from sld.board.entries.submission import points_of
from sld.board.programs.program import Limits, ProgramResult, program_from, run_program
from sld.board.programs.sandbox import Protection, detect
from sld.data.table import Table, table_from

N = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]
FAMILY = ["a", "a", "a", "a", "b", "b", "b", "b"]
TRAIN = table_from({"N": N, "loss": [10 / n + 1 for n in N]}, target="loss", scale="N")
GROUPED = table_from(
    {"N": N, "loss": [10 / n + (f == "b") for n, f in zip(N, FAMILY, strict=True)], "family": FAMILY},
    target="loss",
    scale="N",
    group="family",
)
TWO_TARGETS = table_from({"N": N, "x": [2 * n for n in N], "y": [3 * n for n in N]}, target=["x", "y"], scale="N")

GOOD = """
import numpy as np

def fit_scaling_law(data_points, loss_values):
    columns = np.column_stack([1 / data_points[:, 0], np.ones(len(data_points))])
    return np.linalg.lstsq(columns, loss_values, rcond=None)[0]

def scaling_law_func(data_points, params):
    return params[0] / data_points[:, 0] + params[1]
"""


def run(source: str, train: Table = TRAIN, protection: Protection | None = None, **options: Any) -> ProgramResult:
    """Run a program's text on a table and ask it for predictions at its own points."""
    given = {key: options.pop(key) for key in tuple(options) if key in Limits.__dataclass_fields__}
    limits = Limits(**{"fit_timeout_s": 20.0, "predict_timeout_s": 20.0, **given})
    program = program_from(dedent(source))
    return run_program(program, train, points_of(train), limits=limits, protection=protection, **options)


def law(body: str) -> str:
    """Return a program whose law does something first and then predicts 1."""
    lines = "\n".join("    " + line for line in dedent(body).strip().splitlines())
    return f"def law(input_data, group):\n{lines}\n    return [{{'loss': 1.0}} for _ in input_data]\n"


VARIANTS = ("bubblewrap + landlock + seccomp", "landlock + seccomp", "bubblewrap + seccomp")
# one variant by default, since a child takes a quarter of a second; the attempts of test_sandbox run under all of them
PROTECTIONS = [VARIANTS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS[1:])]


def variant(name: str) -> Protection:
    """Return one way of locking up; skips the test with the reason where this machine does not offer it."""
    found = detect()
    landlock = found.landlock if "landlock" in name else 0
    bwrap = found.bubblewrap if "bubblewrap" in name else None
    lacking = [
        *(["Landlock"] if "landlock" in name and not landlock else []),
        *(["bubblewrap"] if "bubblewrap" in name and bwrap is None else []),
        *(["seccomp"] if not found.seccomp else []),
    ]
    if lacking:
        pytest.skip(f"this machine lacks {', '.join(lacking)}: {'; '.join(found.missing)}")
    return Protection(bwrap, landlock, True)
