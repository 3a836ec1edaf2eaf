"""The report as a page: whole, one file, the same twice, and every text in it stays text."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run

from sld import api as verbs
from sld.analysis.report.decided import decided
from sld.analysis.report.markup import html_of, inline
from sld.core.errors import UsageError

N = np.geomspace(1e6, 1e9, 10)
SECTIONS = ("The law", "Law, runs and intervals", "Constants", "How well it extrapolates", "Residuals",
            "Where the runners-up disagree", "How to reproduce it")  # fmt: skip
HOSTILE = "</script><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    loss = 1.7 + 400 * N**-0.34 + 0.01 * np.sin(np.arange(10))
    verbs.discover({"N": N, "loss": loss}, target="loss", scale="N", budget="150fits", workers=1, out=folder)
    return folder


@pytest.fixture(scope="module")
def page(run_dir: Path) -> str:
    return verbs.report(run_dir)


class Reader(HTMLParser):
    """Reads a page strictly: elements close in order, attributes and ids come once."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        assert self.open == []
        ids = Counter(a["id"] for _, a in self.elements if "id" in a)
        assert [name for name, n in ids.items() if n > 1] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len({name for name, _ in attrs})
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "link", "br", "wbr", "input", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_a_page_has_every_part_and_a_way_to_each(page: str) -> None:
    reader = Reader(page)
    headings = re.findall(r"<h2>(.+?)</h2>", page)
    assert [name for name in SECTIONS if name not in headings] == []
    targets = {a["href"][1:] for a in reader.of("a") if a["href"].startswith("#")}
    assert targets - {a.get("id") for _, a in reader.elements} == set()
    assert "Verdict: " in page and "sld discover" in page and "outcome" not in headings


def test_a_page_is_one_small_file_that_asks_nobody(page: str) -> None:
    assert len(page.encode()) < 300_000  # 1.5 MB are allowed; this one has ten rows
    reader = Reader(page)
    (policy,) = (a["content"] for a in reader.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    addresses = [v for _, a in reader.elements for k, v in a.items() if k in ("src", "href")]
    assert all(v.startswith(("#", "data:", "https://arxiv.org/")) for v in addresses)
    assert not any(k == "style" or k.startswith("on") for _, a in reader.elements for k in a)


def test_the_same_run_gives_the_same_page(run_dir: Path, page: str) -> None:
    assert verbs.report(run_dir) == page


def test_charts_carry_the_rows_and_intervals_that_they_show(page: str) -> None:
    (block,) = re.findall(r'<script type="application/json" id="charts">(.+?)</script>', page)
    curves, residuals = json.loads(block)
    (series,) = curves["series"]
    assert len(series["dots"]) == 10 and np.allclose([d[0] for d in series["dots"]], N, rtol=1e-5)
    assert all(low <= y <= high for low, y, high in zip(series["low"], series["y"], series["high"], strict=True))
    assert curves["beyond"][0] == pytest.approx(1e9) and curves["x"]["log"]
    assert sum(len(s["dots"]) for s in residuals["series"]) == 10
    told = residuals["series"][0]["dots"][0]
    assert told[3].startswith("N 1M: measured") and abs(told[1]) < 5
    for chart in (curves, residuals):
        assert f'data-chart="{chart["id"]}"' in page


def test_text_of_others_stays_text(run_dir: Path) -> None:
    found = verbs.load_run(run_dir)
    told = [{"title": HOSTILE, "summary": HOSTILE, "rows": [{HOSTILE: HOSTILE}]}]
    page = verbs.report(replace(found, notes=(HOSTILE, "`<img src=x>`", "**<b onclick=1>**")), decisions=told)
    reader = Reader(page)
    assert len(reader.of("script")) == 2 and "<script>document" not in page and not reader.of("img")
    assert not any(k.startswith("on") for _, a in reader.elements for k in a)


@pytest.mark.parametrize("name", ["</script>", "a|b", "`x`", "<b>", "\u202e"])
def test_columns_and_groups_with_odd_names_are_told(tmp_path: Path, name: str) -> None:
    rows = {"N": np.tile(N, 2), "y": np.concatenate([1 + N**-0.3, 2 + N**-0.3]), "g": [name] * 10 + ["other"] * 10}
    law = verbs.fit(rows, "E + A*N**-a", target="y", scale="N", group="g", starts=4)
    base = verbs.discover(rows, target="y", scale="N", group="g", budget="30fits", workers=1)
    page = verbs.report(replace(base, law=replace(law, provenance=base.law.provenance)))
    assert len(Reader(page).of("script")) == 2
    (block,) = re.findall(r'<script type="application/json" id="charts">(.+?)</script>', page)
    assert {s["name"] for s in json.loads(block)[0]["series"]} >= {"other"}


# --- decisions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OptimalAllocation:
    """Stands for the result of any decision."""

    def summary(self) -> str:
        return "With C = 1e21 train N = 3.1e9 on D = 5.4e10.\nInterval of N: 2.2e9 to 4.4e9."

    def to_frame(self) -> Any:
        import pandas

        return pandas.DataFrame({"C": [1e21], "N": [3.1e9], "supported": [False]})

    def plot(self, ax: Any = None) -> Any:
        return ax.plot([1, 2], [2, 1]) and ax


def test_decisions_are_told_from_results_and_from_documents(run_dir: Path) -> None:
    crossing = {"C": {"value": 1.5e21, "low": 1e21, "high": 2e21}, "never": None}
    document = {"law": "x.json", "crossing": crossing, "interval": [1.0, 2.0], "sentence": "A **wins**."}
    rows = {"title": "Plan", "plans": [{"point": {"N": {"value": 3e9, "low": None, "high": None}}, "options": []}]}
    page = verbs.report(run_dir, decisions=[OptimalAllocation(), document, rows])
    part = page.partition('id="decisions"')[2].partition("</section>")[0]
    assert "<h3>Optimal allocation</h3>" in part and "train N = 3.1e9 on D = 5.4e10.\nInterval of N" in part
    assert "<td>3.1e9</td>" in part and "<td>no</td>" in part and 'src="data:image/png;base64,' in part
    wanted = ("A **wins**.", "crossing C", "1.5e21 (1e21 to 2e21)", "1 to 2", "point N", "3e9")
    assert [said for said in wanted if said not in part] == [] and "x.json" not in part and "options" not in part


def test_every_table_of_a_document_is_told(run_dir: Path) -> None:
    """As `sld downstream` prints them: the answer is not the longest list, or lies within a record of one."""
    items = {"title": "Items", "scores": [{"value": 0.8403}], "classes": [{"number": k} for k in range(4)]}
    tasks = {"title": "Tasks", "tasks": [{"task": "quiz", "scores": [{"value": 0.9067, "low": 0.8672}]}], "seen": []}
    page = verbs.report(run_dir, decisions=[items, tasks])
    part = page.partition('id="decisions"')[2].partition("</section>")[0]
    wanted = ("0.8403", "<caption>classes</caption>", "<caption>tasks: scores</caption>", "0.9067", "0.8672", "quiz")
    assert [said for said in wanted if said not in part] == []


def test_what_is_no_decision_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a decision has a method summary.*got int"):
        decided(3)
    with pytest.raises(UsageError, match="says nothing"):
        decided({"law": "x.json"})


# --- markup ---------------------------------------------------------------------------------------------------------


def test_markdown_of_the_report_becomes_elements() -> None:
    text = """### <x>

- one `a|b`
- **two `c`**

1. first
2. second
> said

```
<pre>
```
| form | n |
|---|---|
| `a\\|b` | 1 % |
| total | **2** |"""
    lines = text.splitlines()
    shown = html_of(lines, "Table")
    Reader(shown)
    assert shown.startswith(
        "<h3>&lt;x&gt;</h3><ul><li>one <code>a|b</code></li><li><b>two <code>c</code></b></li></ul><ol>"
    )
    assert '<pre tabindex="0"><code>&lt;pre&gt;</code></pre>' in shown and '<td class="num">1 %</td>' in shown
    assert '<th scope="row"><code>a|b</code></th>' in shown and 'aria-label="Table: &lt;x&gt;"' in shown
    assert inline("a ** b") == "a ** b"


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page_into_the_run(run_dir: Path, tmp_path: Path, sld: Run) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    done = sld("report", run, "--html")
    assert done.code == 0 and done.out.startswith(f"written to {run}") and (run / "report.html").exists()
    answer = tmp_path / "my_answer.json"
    answer.write_text('{"sentence": "Train the large one."}')
    done = sld("report", run, "--html", "--out", tmp_path / "law.html", "--decision", answer, "--json")
    assert json.loads(done.out)["bytes"] == (tmp_path / "law.html").stat().st_size
    assert '<h3>My answer</h3><pre class="told" tabindex="0"><code>Train the large one.</code></pre>' in (
        tmp_path / "law.html"
    ).read_text(encoding="utf-8")
    done = sld("report", run)
    assert done.code == 0 and done.out.startswith("# Scaling law of `loss`") and "plot.png" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/nothing", "--html"], "nothing"),
        (["{}", "--html"], "has no law.json"),
        (["{}/run", "--json"], "--json is for pages; add --html"),
        (["{}/run", "--html", "--decision", "{}/no.json"], "could not read"),
        (["{}/run", "--html", "--decision", "{}/run/front.csv"], "is not JSON"),
        (["{}/run", "--html", "--task", "nanolm_chinchila"], "did you mean 'nanolm_chinchilla'"),
        (["{}/run", "--html", "--out", "{}/no/where.html"], "create it first"),
    ],
)
def test_bad_input_is_one_line(run_dir: Path, arguments: list[str], message: str, sld: Run) -> None:
    done = sld("report", *(a.format(run_dir.parent) for a in arguments))
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1 and not done.out
