"""What a run leaves behind says what was done: settings of the fit, intervals of both laws, each file written once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searches import grouped, search, two_scales

from sld import api
from sld.analysis import intervals
from sld.analysis.diagnosis import diagnose
from sld.analysis.intervals import with_intervals
from sld.analysis.report.report import report
from sld.cli.show import law as show_law
from sld.core import files
from sld.core.errors import UsageError
from sld.data.splits import frontier_weights
from sld.data.table import table_from
from sld.fit.fitting import fit
from sld.laws.fit_settings import FitSettings
from sld.laws.law import Law
from sld.search import finishing
from sld.search.outcome import Discovery


@pytest.fixture(scope="module")
def found() -> Discovery:
    with pytest.MonkeyPatch.context() as patch:
        # a form that explained the table would be handed out alone
        patch.setattr(finishing, "explanation", lambda *_: None)
        found = search(two_scales(0.01), "1500fits", complete=with_intervals)
    assert found.single is not None
    return found


@pytest.mark.slow
def test_a_searched_law_says_that_its_rows_weigh_by_the_frontier(found: Discovery) -> None:
    assert frontier_weights(found.table) is not None
    assert found.law.settings["loss"].weights == ("frontier",)


def test_both_laws_are_written_once_and_with_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "explanation", lambda *_: None)
    written: Counter[str] = Counter()
    write = files.write_text_atomic

    def counted(path: str | Path, text: str) -> None:
        written[Path(path).name] += 1
        write(path, text)

    monkeypatch.setattr("sld.laws.law.write_text_atomic", counted)
    api.discover(columns(), budget="800fits", workers=1, out=tmp_path, target="loss", scale=["N", "D"])
    assert written == {"law.json": 1, "single.json": 1}
    for name in written:
        assert Law.load(tmp_path / name).intervals is not None


def columns() -> dict[str, Any]:
    table = two_scales(0.01, 5, 4)
    return {"N": table.X[:, 0], "D": table.X[:, 1], "loss": table.Y[:, 0]}


def test_a_kill_before_the_end_leaves_no_law_without_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise SystemError("killed")

    monkeypatch.setattr(intervals, "compute", killed)
    with pytest.raises(SystemError):
        api.discover(columns(), budget="300fits", workers=1, out=tmp_path, target="loss", scale=["N", "D"])
    assert not (tmp_path / "law.json").exists()


@pytest.mark.slow
def test_ctrl_c_waits_until_law_and_intervals_are_written(tmp_path: Path) -> None:
    def interrupted(one: Discovery) -> Discovery:
        os.kill(os.getpid(), signal.SIGINT)
        return with_intervals(one)

    search(two_scales(0.01, 5, 4), "300fits", out=tmp_path, complete=interrupted)
    assert Law.load(tmp_path).intervals is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_law_is_not_lost_where_its_intervals_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise UsageError("there is one rung")

    monkeypatch.setattr(intervals, "compute", refused)
    found = search(two_scales(0.01, 5, 4), "300fits", out=tmp_path, complete=with_intervals)
    assert "there are no intervals: there is one rung" in found.notes
    assert Law.load(tmp_path).intervals is None


def test_the_report_says_what_was_minimised(found: Discovery) -> None:
    text = report(found)
    assert "rows next to where the law will be used weighted more" in text
    assert "points beyond the data, where other laws were asked" in text
    assert "all rows weighted alike" not in text.split("Minimised:")[1].splitlines()[0]
    own = found.law.settings["loss"]
    assert ("bounded: none" in text) == (not own.bounds)
    free = replace(found, law=replace(found.law, settings={"loss": replace(own, bounds={})}))
    assert "No constant is at a bound" not in report(free) and "bounded: none" in report(free)
    bounded = FitSettings(bounds={"E": (found.law.constants["loss"]["all"].get("E", 0.0), np.inf)}, positive=("A",))
    held = replace(found, law=replace(found.law, settings={"loss": bounded}))
    text = report(held)
    assert "all rows weighted alike" in text and "positive: A" in text and "bounded: E from" in text


def test_a_constant_on_its_bound_is_named() -> None:
    N = np.geomspace(1e6, 1e9, 12)
    noise = 0.01 * np.random.default_rng(0).standard_normal(12)
    data = {"N": N, "loss": 1.7 + 40 * N**-0.3 + noise}
    law = api.fit(data, "E + A*N**-alpha", target="loss", scale="N", bounds={"E": (1.75, 2.5)}, starts=8)
    assert law.constants["loss"]["all"]["E"] == pytest.approx(1.75)
    table = table_from(data, target="loss", scale="N")
    one = search(table, "100fits", formulas=["E + A*N**-alpha"], proposers=[])
    judged = diagnose(replace(one, law=law), 0)
    assert judged.at_bounds == ("E",)
    assert "On a declared bound: `E`." in judged.sentences({})
    # with the same bound the best refit is the law itself
    assert judged.better < 1e-6
    assert law.settings["loss"].bounds == {"E": (1.75, 2.5)}


def test_a_weighted_fit_is_compared_with_weighted_refits(found: Discovery) -> None:
    settings = FitSettings(weights=("frontier",))
    expression = found.table.parse("E + A*N**-a")
    result = settings.fit(expression, found.table, starts=8)
    law = Law(
        {"loss": expression}, {"loss": result.constants}, found.table.variables, found.table.targets,
        settings={"loss": settings},
    )  # fmt: skip
    judged = diagnose(replace(found, law=law), 0)
    assert judged.status == "ok" and judged.changes["with all rows weighted alike"] > 1e-6
    assert judged.better < 1e-6
    # least squares of all rows alike has smaller plain squares, which makes it no better
    plain = fit(expression, found.table, starts=8)
    assert plain.nmse < judged.nmse * (1 - 1e-4)


def test_intervals_of_every_group_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    table = grouped()
    data = {
        "N": table.X[:, 0],
        "loss": table.Y[:, 0] * np.exp(0.01 * rng.standard_normal(30)),
        "family": np.array(table.groups)[table.group_index],
    }
    law = api.fit(data, "E + A*N**-a", target="loss", scale="N", group="family", starts=8)
    show_law.fitted(law, None, None, "runs.csv", json=False)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("  90 % intervals:")
    for line, group in zip(lines[at + 2 :], law.groups, strict=False):
        assert line.split()[0] == group and line.count(" to ") == 3
    show_law.fitted(law, None, None, "runs.csv", json=True)
    said = json.loads(capsys.readouterr().out)["constant_intervals"]["loss"]
    for group, values in law.constants["loss"].items():
        for name, value in values.items():
            low, high = said[group][name]
            assert low < value < high


def test_an_unknown_interval_is_null_and_said_to_be_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    data = columns()
    law = api.fit(data, "E + A*N**-a", target="loss", scale=["N", "D"], bounds={"E": (9.0, 10.0)}, starts=8)
    show_law.fitted(law, None, None, "runs.csv", json=False)
    assert "unknown: held by its bound" in capsys.readouterr().out
    show_law.fitted(law, None, None, "runs.csv", json=True)
    assert json.loads(capsys.readouterr().out)["constant_intervals"]["loss"]["all"]["E"] is None
