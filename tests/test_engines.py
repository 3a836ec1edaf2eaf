"""Engines of others: what they find becomes proposals, whatever they do costs no more than a note."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from sld.core.errors import UsageError
from sld.data.table import Table, table_from
from sld.search.discovery import SearchSettings, discover
from sld.search.judging.judge import Proposal
from sld.search.proposing.engines import ENGINES, Run, with_constants

FAKE = """
import os, sys
import pandas as pd

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
def test_engines_see_the_largest_groups_one_by_one(fake_pysr) -> None:  # type: ignore[no-untyped-def]
    fake_pysr(["0.5 * v0", "0.5 * v1"])
    found = proposals("pysr", law_table(groups=5))
    assert len(found) == 6  # three groups, two formulas each; the search drops repeated families
    assert set(found[0].forms[0].start) == {f"g{i}" for i in range(5)}


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
