"""Engines of others: what they find becomes proposals, whatever they do costs no more than a note."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_runs import surroundings
from many_cases import each

from sld.core.errors import UsageError
from sld.data.table import Table, table_from
from sld.search.discovery import SearchSettings, discover
from sld.search.judging.judge import Proposal
from sld.search.proposing.engines import ENGINES, Run, read_template, with_constants

FAKE = """
import os, sys
import pandas as pd

class TemplateExpressionSpec:
    def __init__(self, **spec):
        assert spec["combine"] == "f(v0, v1, p0[group], p1[group])" and spec["parameters"] == {{"p0": 5, "p1": 5}}, spec

class PySRRegressor:
    def __init__(self, **settings):
        assert settings["deterministic"] and settings["parallelism"] == "serial", settings
        print("noise on stdout")

    def fit(self, X, y, variable_names):
        assert X.shape == (len(y), len(variable_names)), X.shape
        {fit}
        texts = {equations!r}
        self.equations_ = pd.DataFrame({{"complexity": range(len(texts), 0, -1), "equation": texts}})
"""


def law_table(*, groups: int = 1) -> Table:
    rng = np.random.default_rng(3)
    N, D = 10 ** rng.uniform(6, 9, 60), 10 ** rng.uniform(8, 11, 60)
    columns = {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 410 * D**-0.28}
    if groups == 1:
        return table_from(columns, target="loss", scale=["N", "D"])
    return table_from(
        columns | {"g": [f"g{i % groups}" for i in range(60)]}, target="loss", scale=["N", "D"], group="g"
    )


@pytest.fixture
def fake_pysr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Put a stand-in for PySR where this process and its children import from."""

    def make(equations: list[str], fit: str = "pass") -> None:
        (tmp_path / "pysr.py").write_text(FAKE.format(equations=equations, fit=fit))
        monkeypatch.syspath_prepend(str(tmp_path))
        root = Path(__file__).resolve().parents[1]
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{root}")

    yield make
    sys.modules.pop("pysr", None)


def proposals(name: str, table: Table, notes: list[str] | None = None) -> list[Proposal]:
    return list(Run(ENGINES[name], table, seed=0, notes=[] if notes is None else notes).proposals())


def test_numbers_become_constants_and_small_whole_ones_stay() -> None:
    table = law_table()
    tree, numbers = with_constants(table.parse("1.5 + 2*log(N)**2 + 0.25*exp(log(D)/3.5)"), taken=table.symbols)
    assert str(tree) == "c0 + 2*log(N)**2 + c1*exp(log(D)/c2)"
    assert numbers == {"c0": 1.5, "c1": 0.25, "c2": 3.5}


@pytest.mark.slow
def test_a_hall_of_fame_becomes_proposals_shortest_first(fake_pysr) -> None:  # type: ignore[no-untyped-def]
    fake_pysr(["1.7 + (400.5 * exp(v0 * -0.34))", "(v1 ^ 2) * 0.5"])
    first, second = proposals("pysr", law_table())
    assert first.forms[0].expression.text == "log(D)**2*c0"
    assert second.forms[0].expression.text == "c0 + c1*exp(log(N)*c2)"
    assert second.forms[0].start["all"]["c1"] == 400.5
    assert {p.forms[0].origin for p in (first, second)} == {"pysr"}


@pytest.mark.slow
def test_what_the_grammar_refuses_is_left_out(fake_pysr) -> None:  # type: ignore[no-untyped-def]
    fake_pysr(["__import__('os').system('true')", "v0 + v7", "sinh(v0)", "1.5", "v0 +", "x" * 5000, "0.5 * v0"])
    assert [p.forms[0].expression.text for p in proposals("pysr", law_table())] == ["c0*log(N)"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fit", "said"),
    [
        ("raise RuntimeError('no Julia here')", "no Julia here"),
        ("os._exit(3)", "exit code 3"),
        ("os.abort()", "exit code -6"),
    ],
)
def test_a_failing_engine_costs_a_note(fake_pysr, fit: str, said: str) -> None:  # type: ignore[no-untyped-def]
    fake_pysr(["v0", "v1"], fit)
    notes: list[str] = []
    assert proposals("pysr", law_table(), notes) == []
    assert len(notes) == 1
    assert said in notes[0] and "pysr" in notes[0]


@pytest.mark.slow
def test_the_search_goes_on_without_a_failing_engine(fake_pysr) -> None:  # type: ignore[no-untyped-def]
    fake_pysr(["v0", "v1"], "raise RuntimeError('no Julia here')")
    found = discover(law_table(), SearchSettings(budget="20fits", workers=1, proposers=["catalogue", "pysr"]))
    assert any("before proposer pysr had its turn" in note for note in found.notes)
    found = discover(
        law_table(), SearchSettings(budget="600fits", workers=1, proposers=["pysr"], formulas=["E + A*N**-a + B*D**-b"])
    )
    assert any("no Julia here" in note for note in found.notes)


def test_an_engine_that_is_not_installed_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"'operon' needs the package pyoperon.*pip install 'sld\[operon\]'"):
        discover(law_table(), SearchSettings(budget="100fits", workers=1, proposers=["operon"]))


def test_an_engine_ends_with_the_search(fake_pysr) -> None:  # type: ignore[no-untyped-def]
    fake_pysr(["v0", "v1"], "import time; time.sleep(60)")
    run = Run(ENGINES["pysr"], law_table(), seed=0, notes=[])
    run.close()
    assert run._child.wait(timeout=5) != 0


@pytest.mark.slow
def test_pysr_gets_one_form_for_all_groups_with_constants_of_each(fake_pysr) -> None:  # type: ignore[no-untyped-def]
    own = "p0 = [1.0, 2.0, 3.0, 4.0, 5.0]; p1 = [0.5, 0.5, 0.5, 0.5, 0.5]"
    fake_pysr([f"f = #3 + (exp(#1 * -0.34) * 400.0); {own}", f"f = #1 * 2.5; {own}", "f = #9; p0 = []", "nothing"])
    without, with_own = (p.forms[0] for p in proposals("pysr", law_table(groups=5)))
    assert without.expression.text == "log(N)*c0" and without.shared == ()
    assert with_own.expression.text == "p0 + exp(log(N)*c0)*c1" and with_own.shared == ("c0", "c1")
    assert {g: s["p0"] for g, s in with_own.start.items()} == {f"g{i}": i + 1.0 for i in range(5)}
    assert with_own.start["g3"]["c0"] == -0.34


@each(
    ("text", "formula"),
    [
        ("╭ f = #1 ^ #4\n├ p0 = [1.0, 2.0]\n╰ p1 = [3.0, -4e-5]", "v0 ^ p1"),
        ("f = #2 / #1; p0 = [1.0, 2.0]", "v1 / v0"),
        ("f = #3; p0 = [1.0, 2.0, ...]; p1 = [NaN, 1.0]", "p0"),
        ("g = #1", None),
        ("f = #5", None),
        ("f = #0", None),
        ("", None),
    ],
)
def test_templates_are_read_in_one_line_and_in_several(text: str, formula: str | None) -> None:
    read = read_template(text, 2, 2)
    assert (read and read[0]) == formula
    if read is not None:
        assert all(len(values) == 2 and np.isfinite(values).all() for values in read[1].values())
    if "e-5" in text:
        assert read is not None and read[1] == {"p0": [1.0, 2.0], "p1": [3.0, -4e-5]}


@pytest.mark.slow
def test_pysr_s_own_classes_take_what_it_is_given() -> None:
    """With a stand-in for Julia, which they import: what Julia makes of it is not seen here."""
    pytest.importorskip("juliapkg", reason="the extra `pysr` is not installed")
    code = """
import sys, warnings
from unittest.mock import MagicMock
warnings.simplefilter("ignore")
julia = sys.modules["juliacall"] = MagicMock()
julia.Main.VERSION.major, julia.Main.VERSION.minor, julia.Main.VERSION.patch = 1, 11, 0
from sld.search.proposing.engine_child import pysr_model
part = {"X": [[1.0], [2.0]], "y": [1.0], "group": [1], "n_groups": 7, "own": ["p0", "p1"]}
model = pysr_model(part, 0, 500)
model._validate_and_modify_params()
print(" ".join(model.expression_spec_._template_macro_str().split()))
print(type(pysr_model({"X": [[1.0]], "y": [1.0]}, 0, 500).expression_spec_).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=surroundings(), timeout=120)
    assert done.stdout.splitlines() == [
        "@template_spec(expressions=(f,), parameters=(p0=7, p1=7,),) do v0, v1, group "
        "f(v0, v1, p0[group], p1[group]) end",
        "ExpressionSpec",
    ], done.stderr


@pytest.mark.slow
def test_operon_proposes_the_same_forms_every_time_and_they_are_judged() -> None:
    pytest.importorskip("pyoperon", reason="the extra `operon` is not installed")
    table = law_table()
    one, other = ([p.key for p in proposals("operon", table)] for _ in range(2))
    assert len(one) >= 3
    assert one == other
    found = discover(table, SearchSettings(budget="2000fits", workers=1, proposers=["operon"]))
    assert found.chosen.origin == "operon"
    assert found.chosen.train_nmse < 0.05  # a form with half as many constants as points would be refused
