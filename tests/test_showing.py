"""How laws and discoveries show themselves: in a few lines, in a notebook, as DataFrames, on axes; and warnings."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import sld
from sld.api.progress import shown_progress
from sld.core.errors import SldError, SldWarning, UsageError
from sld.data.card import Target, Variable
from sld.formula.expression import parse
from sld.laws.law import Law

N = np.geomspace(1e6, 1e9, 10)
RUNS = {"N": N, "loss": 1.7 + 400 * N**-0.34}


@pytest.fixture(scope="module")
def found() -> sld.Discovery:
    return sld.discover(RUNS, target="loss", scale="N", budget="100fits", workers=1)


def many(n_groups: int = 40, n_targets: int = 5) -> Law:
    """A law that does not fit on a screen."""
    form = parse(" + ".join(f"A_{k}*N**-a_{k}" for k in range(9)), ["N"])
    values = {c: 1.0 for c in form.constants}
    targets = tuple(Target(f"loss_{j}") for j in range(n_targets))
    groups = {f"<b>{g}</b>": values for g in range(n_groups)}
    return Law(
        {t.column: form for t in targets}, {t.column: groups for t in targets}, (Variable("N"),), targets, "family"
    )


def test_reprs_are_a_few_lines_whatever_the_law(found: sld.Discovery) -> None:
    assert repr(found.law).splitlines()[0] == "Law of loss"
    assert "supported up to" in repr(found.law) and "formulas tried on 10 rows" in repr(found)
    for shown in (repr(found), repr(found.law), repr(many())):
        assert len(shown.splitlines()) <= 6 and all(len(line) <= 240 for line in shown.splitlines())
    assert "each of 40 groups" in repr(many()) and "and 2 more" in repr(many())


def test_latex_is_one_block(found: sld.Discovery) -> None:
    assert found._repr_latex_() == found.law._repr_latex_() == r"$$\text{loss} = \frac{400}{N^{0.34}} + 1.7$$"
    shown = many()._repr_latex_()
    assert shown.startswith(r"$$\begin{gathered}\text{loss\_0}") and shown.count(r"\\ ") == 2


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("img", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_notebook_shows_formula_constants_verdict_and_picture(found: sld.Discovery) -> None:
    shown = found._repr_html_()
    tags = Tags(shown)
    assert tags.open == [] and {"math", "table", "img", "b"} <= set(tags.seen) and "script" not in tags.seen
    assert "Verdict: " in shown and "90 % interval" in shown and "data:image/png;base64," in shown
    assert len(shown) < 80_000
    assert "img" in Tags(found.law._repr_html_()).seen, "a law knows where it was fitted"


def test_names_of_others_stay_text_in_a_notebook() -> None:
    shown = many()._repr_html_()
    assert "&lt;b&gt;0&lt;/b&gt;" in shown and "<b>0" not in shown and Tags(shown).open == []
    assert "more; law.summary() has all" in shown and "img" not in Tags(shown).seen


def test_a_summary_has_a_row_for_each_constant(found: sld.Discovery) -> None:
    frame = found.law.summary()
    assert list(frame.columns) == ["target", "group", "constant", "value", "low", "high", "note"]
    assert (frame["low"] <= frame["value"]).all() and (frame["value"] <= frame["high"]).all()
    assert sorted(frame["value"].round(2)) == [0.34, 1.7, 400.0]
    bare = many().summary()
    assert len(bare) == 5 * 40 * 18 and bare["low"].isna().all()


def test_a_discovery_lists_its_formulas_and_marks_the_chosen_one(found: sld.Discovery) -> None:
    frame = found.summary()
    assert frame["chosen"].sum() == 1
    chosen = frame[frame["chosen"]].iloc[0]
    assert chosen["formula"] == found.chosen.text and chosen["fold_error"] < 1e-9
    assert frame["complexity"].is_monotonic_increasing


def test_residuals_are_measured_minus_predicted(found: sld.Discovery) -> None:
    assert np.abs(found.residuals()["residual"]).max() < 1e-6
    moved = {"N": N, "loss": RUNS["loss"] + 0.5}
    frame = found.law.residuals(moved)
    assert np.allclose(frame["residual"], 0.5) and np.allclose(frame["relative"], 0.5 / RUNS["loss"])
    assert list(frame.columns) == ["N", "target", "measured", "predicted", "residual", "relative"]
    with pytest.raises(sld.DataError, match="loss"):
        found.law.residuals({"N": N})


def test_a_law_is_drawn_on_the_axes_of_the_caller(found: sld.Discovery) -> None:
    ax = Figure().subplots()
    assert found.plot(ax) is ax and ax.get_xlabel() == "N"
    with_rows = len(ax.lines)
    bare = found.law.plot(Figure().subplots())
    assert 0 < len(bare.lines) < with_rows, "no rows, no markers"
    assert all(line.get_marker() == "None" for line in bare.lines)
    assert bare.collections, "its interval is drawn as a band"
    own = found.law.plot(Figure().subplots(), data={"N": N[:4], "loss": RUNS["loss"][:4]})
    assert any(np.size(line.get_xdata()) == 4 for line in own.lines)


def test_new_axes_are_made_where_none_are_given(found: sld.Discovery) -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    ax = found.plot()
    assert plt.get_fignums() == [*before, ax.figure.number]  # type: ignore[union-attr]
    plt.close(ax.figure)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda law: many().plot(), "name a target: the law has 'loss_0'"),
        (lambda law: many().plot(target="loss_1"), "does not say in which ranges it was fitted: give rows"),
        (lambda law: law.plot(target="los"), "no target 'los'; did you mean 'loss'"),
    ],
    ids=["several", "nowhere", "misspelt"],
)
def test_what_cannot_be_drawn_is_said_in_a_line(found: sld.Discovery, call: Callable[[Law], Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(found.law)


def test_groups_and_mixtures_are_drawn_without_rows() -> None:
    form = parse("E + A*N**-a + B*p", ["N", "p", "q"])
    values = {"E": 1.0, "A": 5.0, "a": 0.2, "B": 0.1}
    variables = (Variable("N"), Variable("p", role="proportion"), Variable("q", role="proportion"))
    ranges = {"N": [1e6, 1e8], "p": [0.1, 0.5], "q": [0.5, 0.9]}
    law = Law({"loss": form}, {"loss": {"a": values, "b": values}}, variables, (Target("loss"),), "family",
              provenance={"ranges": ranges})  # fmt: skip
    assert law.plot(Figure().subplots()).lines


# --- predictions ----------------------------------------------------------------------------------------------------


def test_predict_warns_as_the_command_does(found: sld.Discovery) -> None:
    with pytest.warns(SldWarning, match="is not supported, and 1 of 2 points lie there"):
        sld.predict(found, {"N": [1e9, 1e15]})
    assert np.isfinite(sld.predict(found, {"N": [2e9]})["loss"]).all(), "within what is supported nothing is said"


def test_a_variable_outside_its_rows_is_warned_of() -> None:
    lr = np.tile([1e-4, 1e-3], 5)
    rows = {"N": np.repeat(N[::2], 2), "lr": lr, "loss": np.repeat(RUNS["loss"][::2], 2) + np.log(lr) ** 2 / 100}
    law = sld.fit(rows, "E + A*N**-a + k*log(lr)**2", target="loss", scale="N", hyper="lr", starts=4)
    with pytest.warns(SldWarning, match="lr = 0.1 lies outside"):
        sld.predict(law, {"N": [1e8], "lr": [0.1]})


def test_a_point_outside_the_domain_is_warned_of() -> None:
    form = parse("E + A*(N - 5)**-0.5", ["N"])
    law = Law({"loss": form}, {"loss": {"all": {"E": 1.0, "A": 1.0}}}, (Variable("N"),), (Target("loss"),))
    with pytest.warns(SldWarning, match="no finite prediction for 1 of 2 points"):
        sld.predict(law, {"N": [1.0, 9.0]})


# --- keywords -------------------------------------------------------------------------------------------------------

untyped: Any = sld


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"budget": 20}, 'budget is text with a unit, got 20: budget="20s" for seconds or budget="20fits" for fits'),
        ({"budget": 0}, "budget is text with a unit, got 0"),
        ({"budget": ["20s"]}, "budget is text with a unit"),
        ({"scales": "N"}, "no keyword 'scales'; did you mean 'scale'"),
        ({"progress": "yes"}, "progress is True, False or a function"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_keyword_or_value_is_said_in_a_line(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        untyped.discover(RUNS, **{"target": "loss", "scale": "N", "budget": "50fits"} | keywords)
    assert "\n" not in str(caught.value)


# --- progress -------------------------------------------------------------------------------------------------------


def state(**changes: Any) -> Any:
    best = SimpleNamespace(text="E + A*N**-a")
    return SimpleNamespace(**({"seconds": 3.0, "fraction": 0.4, "tried": 12, "n_fits": 40, "best": best} | changes))


def test_a_function_is_called_and_nothing_is_written_to_a_pipe() -> None:
    seen: list[float] = []
    sld.discover(RUNS, target="loss", scale="N", budget="50fits", workers=1, progress=lambda s: seen.append(s.fraction))
    assert seen and seen[-1] > 0
    pipe = io.StringIO()
    with shown_progress(True, pipe) as show:
        assert show is not None
        show(state())
    assert pipe.getvalue().strip() == ""


def test_a_terminal_shows_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    with shown_progress(True, terminal) as show:
        assert show is not None
        show(state(best=None))
        show(state(fraction=1.0))
    assert "formulas" in terminal.getvalue() and terminal.getvalue().endswith("\x1b[2K")


def test_a_notebook_shows_a_bar_in_one_output(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)
    display = SimpleNamespace(HTML=str, display=lambda *_, display_id: handle)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(__import__("sys").modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(__import__("sys").modules, "IPython.display", display)
    with shown_progress(True) as show:
        assert show is not None
        show(state(best=SimpleNamespace(text="<script>")))
    bar, empty = shown
    assert '<progress value="40" max="100"' in bar and "&lt;script&gt;" in bar and empty == ""


# --- runs that come back --------------------------------------------------------------------------------------------


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    rows = {
        "N": np.tile(N, 2),
        "loss": np.concatenate([RUNS["loss"], RUNS["loss"] + 1]),
        "data": ["a"] * 10 + ["b"] * 10,
    }
    found = sld.discover(
        rows, target="loss", scale="N", group="data", budget="100fits", workers=1, out=tmp_path / "run"
    )
    again = sld.load_run(tmp_path / "run")
    for name in ("chosen", "front", "hall_of_fame", "verdict", "counts", "notes", "n_fits", "config"):
        mine, other = getattr(found, name), getattr(again, name)
        if name in ("front", "hall_of_fame"):  # the rest of a candidate does not outlive the search
            mine, other = (
                [(c.text, c.score, c.constants) for c in mine],
                [(c.text, c.score, c.constants) for c in other],
            )
        if name == "chosen":
            mine, other = replace(mine, priors={}), replace(other, priors={})
        assert mine == other or json.dumps(mine, default=str) == json.dumps(other, default=str), name
    assert again.table.digest() == found.table.digest() and again.law.to_json() == found.law.to_json()
    assert [f.test.tolist() for f in again.folds] == [f.test.tolist() for f in found.folds]
    assert repr(again).partition(" in ")[0] == repr(found).partition(" in ")[0]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    sld.discover(RUNS, target="loss", scale="N", budget="30fits", workers=1, out=folder)
    return folder


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (
            lambda run: (run / "outcome.json").unlink(),
            UsageError,
            "did not end, or an earlier version.*run the same sld",
        ),
        (lambda run: (run / "outcome.json").write_text("{"), sld.DataError, "cannot be read"),
        (lambda run: (run / "law.json").write_text((run / "law.json").read_text() + " "), UsageError, "another search"),
        (lambda run: edit(run, "schema", 99), sld.DataError, "schema 99, newer than this sld reads"),
        (lambda run: edit(run, "front", [{}]), sld.DataError, "not as it was written"),
        (lambda run: edit(run, "rows", {}), sld.DataError, "not as it was written"),
    ],
    ids=["gone", "cut", "other law", "newer", "front", "rows"],
)
def test_a_run_that_was_changed_is_said_to_be(
    run_dir: Path, tmp_path: Path, damage: Callable[[Path], object], error: type[SldError], message: str
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    damage(copy)
    with pytest.raises(error, match=message) as caught:
        sld.load_run(copy)
    assert "\n" not in str(caught.value)


def edit(run: Path, key: str, value: object) -> None:
    file = run / "outcome.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))


def test_nothing_is_warned_of_while_a_law_is_shown(found: sld.Discovery) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found._repr_html_()
        found.law.summary()
    assert said == []
