"""A new operator takes one row of the table and one branch in each of three functions of the machine: the page says so.

The steps below are those of the documentation. They are taken in a copy of the package, and the copy is then asked to
read, show and fit a formula with the new operator.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sld

# softplus(x) = log(1 + exp(x)): zero far to the left, x far to the right
ROW = r"""    Operator(
        "softplus",
        lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
        lambda x: np.logaddexp(0.0, x),
        lambda _x, f: (-np.expm1(-f),),
        lambda s, x: s.log(1 + s.exp(x)),
        lambda x: (max(x[0], 0.0), max(x[1], 0.0) + 0.6931471805599454),
        sign="never_negative",
        use="argument",
        inverse=lambda v: v + np.log(-np.expm1(-np.maximum(np.abs(v), 1e-300))),
    ),
"""
NAME = """from sld.fit.opcodes import ONE_OPERAND

SOFTPLUS = ONE_OPERAND["softplus"]
"""
SCALARS = """        elif code == SOFTPLUS:
            v = max(x, 0.0) + np.log1p(np.exp(-abs(x)))
            da = -np.expm1(-v)
"""
FORWARD = """            elif code == SOFTPLUS:
                for r in range(m):
                    o[r] = max(x[r], 0.0) + _log(1.0 + _exp(-abs(x[r])))
"""
REVERSE = """            elif code == SOFTPLUS:
                for r in range(m):
                    g[r] *= 1.0 - _exp(-o[r])
"""

# file, the text that what is new stands before, how many such texts come earlier, what is new
STEPS = [
    ("formula/operators.py", ")  # fmt: skip\n\nOPERATORS", 0, ROW),
    ("fit/machine.py", "# No reordering that could hide a NaN", 0, NAME),
    ("fit/machine.py", "        else:\n            v = abs(x)\n", 0, SCALARS),
    ("fit/machine.py", "            elif code == LOG:\n                for r", 0, FORWARD),
    ("fit/machine.py", "            elif code == ABS:\n                for r", 1, REVERSE),
]

USE = """
import json
import numpy as np
from sld.data.table import table_from
from sld.fit.fitting import fit
x = np.linspace(-3.0, 3.0, 60)
table = table_from({"x": x, "y": 0.5 + 2.0 * np.logaddexp(0.0, 1.5 * x - 0.6)}, target="y", covariate="x")
formula = table.parse("E + A*softplus(k*x + m)")
print(json.dumps(fit(formula, table).constants["all"]))
"""


def inserted(text: str, before: str, passed: int, new: str) -> str:
    at = -1
    for _ in range(passed + 1):
        at = text.index(before, at + 1)
    return text[:at] + new + text[at:]


@pytest.mark.slow
def test_the_steps_of_the_page_give_a_new_operator(tmp_path: Path) -> None:
    package = tmp_path / "sld"
    shutil.copytree(Path(sld.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, before, passed, new in STEPS:
        path = package / file
        path.write_text(inserted(path.read_text(encoding="utf-8"), before, passed, new), encoding="utf-8")
    tests = tmp_path / "test_operators.py"
    shutil.copy(Path(__file__).parent / "test_operators.py", tests)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "softplus or every", str(tests)]
    checked = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    constants = json.loads(found.stdout)
    assert constants == pytest.approx({"E": 0.5, "A": 2.0, "k": 1.5, "m": -0.6}, rel=1e-6)
