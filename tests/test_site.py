"""The static site: every text stays text, every link leads somewhere, every page is whole, small and the same twice."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import site_samples as samples
from hypothesis import given
from hypothesis import strategies as st
from many_cases import each

from sld.__main__ import main
from sld.analysis.pages.charts import Axis, Chart, Curve, Dots, draw, span
from sld.analysis.pages.formulas import NONE, formula, r2
from sld.analysis.pages.html import cited, cut, el, escape, outward, safe_url, said, visible
from sld.board.entries.standings import OverallRow, Standings, TaskStandings
from sld.board.site import MARKER, write_site
from sld.board.site.commands import reproduce
from sld.board.site.page import page
from sld.board.site.pages import site
from sld.board.site.places import stem_of
from sld.core.errors import UsageError
from sld.core.files import write_text_atomic
from sld.data.task import load_task, task_from
from sld.formula.expression import parse

BOARDS: dict[str, Callable[[], Standings]] = {
    "ordinary": samples.ordinary,
    "empty": samples.empty,
    "without entries": samples.without_entries,
    "hostile": samples.hostile,
}
VOID = {"meta", "link", "br", "wbr", "input"}


class Reader(HTMLParser):
    """Reads a page strictly: elements close in order, attributes and ids come once."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        ids = Counter(a["id"] for _, a in self.elements if "id" in a)
        assert [name for name, n in ids.items() if n > 1] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        assert self.open.pop() in ("path", "rect"), f"<{tag}/> is no element that HTML closes so"

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def with_attribute(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module", params=list(BOARDS))
def pages(request: pytest.FixtureRequest) -> dict[str, str]:
    return dict(site(BOARDS[request.param]()))


@pytest.fixture(scope="module")
def ordinary() -> dict[str, str]:
    return dict(site(samples.ordinary()))


@pytest.fixture(scope="module")
def hostile() -> dict[str, str]:
    return dict(site(samples.hostile()))


def test_every_page_is_well_formed(pages: dict[str, str]) -> None:
    for text in pages.values():
        assert text.startswith("<!DOCTYPE html>\n<html")
        Reader(text)


def test_every_link_leads_to_a_page_or_out_to_the_web(pages: dict[str, str]) -> None:
    for path, text in pages.items():
        for tag, attributes in Reader(text).elements:
            href = attributes.get("href")
            if href is None or tag == "link" or href.startswith("#"):
                continue
            if urlsplit(href).scheme:
                assert safe_url(href) == href
                assert {"nofollow", "noopener", "noreferrer"} <= set(attributes["rel"].split())
            else:
                assert (Path("/") / path).parent.joinpath(unquote(href)).resolve().as_posix()[1:] in pages


def test_every_page_can_be_reached_from_the_overview(pages: dict[str, str]) -> None:
    found, waiting = set(), ["index.html"]
    while waiting:
        path = waiting.pop()
        found.add(path)
        links = [h for h in Reader(pages[path]).with_attribute("href") if not urlsplit(h).scheme and h[0] != "#"]
        targets = {(Path("/") / path).parent.joinpath(unquote(h)).resolve().as_posix()[1:] for h in links}
        waiting += targets - found - set(waiting)
    assert found == set(pages)


def test_no_page_is_larger_than_a_megabyte(pages: dict[str, str]) -> None:
    assert max(len(text.encode()) for text in pages.values()) <= 1_000_000


def test_nothing_runs_but_the_one_script(pages: dict[str, str]) -> None:
    for text in pages.values():
        reader = Reader(text)
        for tag, attributes in reader.elements:
            assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcdoc")]
            assert tag not in ("iframe", "object", "embed", "form", "img", "base", "foreignobject")
        names = [tag for tag, _ in reader.elements]
        assert names.count("script") == 1 and names.count("style") == 1
        assert "unsafe" not in next(c for c in reader.with_attribute("content") if "default-src" in c)


def test_controls_have_names(pages: dict[str, str]) -> None:
    for text in pages.values():
        reader = Reader(text)
        assert reader.elements[0] == ("html", {"lang": "en"})
        assert [tag for tag, _ in reader.elements].count("h1") == 1
        for tag, attributes in reader.elements:
            if tag == "svg" and attributes.get("role"):
                assert attributes["aria-labelledby"]
            if attributes.get("role") == "region":
                assert attributes["aria-label"]


# --- hostile text ---------------------------------------------------------------------------------------------------


@given(st.text())
def test_text_comes_out_of_a_page_as_it_went_in_or_visible(text: str) -> None:
    reader = Reader(el("p", said(text), title=text))
    assert [tag for tag, _ in reader.elements] == ["p", "bdi"]
    shown = visible(text)
    assert "".join(reader.text) == visible(cut(text, 300))
    assert reader.elements[0][1]["title"] == shown


@each("attack", samples.HOSTILE.values())
def test_hostile_text_stays_text(attack: str) -> None:
    for built in (el("td", attack), el("td", "x", title=attack), escape(attack), said(attack), outward(attack)):
        assert not re.search(r"<(script|img|svg|b)\b", built)
    reader = Reader(page(attack, el("p", attack), home="index.html", crumbs=((attack, None),)))
    assert [tag for tag, _ in reader.elements].count("script") == 1


@pytest.mark.slow
def test_no_text_of_a_submission_becomes_an_element(hostile: dict[str, str]) -> None:
    for text in hostile.values():
        assert {tag for tag, _ in Reader(text).elements}.isdisjoint({"img", "b\x00"})
        assert text.count("<script") == 1 and "<svg onload" not in text and "<%" not in text


def test_no_character_hides_or_turns_around_the_text(hostile: dict[str, str]) -> None:
    for text in hostile.values():
        own = text.replace(chr(0x2062), "")  # the invisible multiplication sign of MathML, which readers speak
        assert visible(own) == own
        text.encode("utf-8")


@each("url", samples.HOSTILE_URLS)
def test_only_plain_web_addresses_become_links(url: str) -> None:
    assert safe_url(url) is None
    assert "<a" not in outward(url)


@pytest.mark.parametrize(
    "url", ["https://example.org", "http://example.org:8080/a/b?c=d&e=%20f#g", "https://arxiv.org/abs/2203.15556"]
)
def test_web_addresses_become_links(url: str) -> None:
    reader = Reader(outward(url))
    assert reader.with_attribute("href") == [url]
    assert reader.with_attribute("rel") == ["nofollow noopener noreferrer external"]


def test_preprints_are_linked_where_they_are_cited() -> None:
    reader = Reader(cited("Hoffmann et al. <2022> (arXiv:2203.15556) eq. 2, arXiv:x"))
    assert reader.with_attribute("href") == ["https://arxiv.org/abs/2203.15556"]
    assert "".join(reader.text) == "Hoffmann et al. <2022> (arXiv:2203.15556) eq. 2, arXiv:x"


def test_paths_of_pages_stay_inside_the_site(hostile: dict[str, str]) -> None:
    for path in hostile:
        assert re.fullmatch(r"index\.html|tasks/[a-z0-9_-]+\.html|laws/[a-z0-9_-]+/[a-z0-9_-]+\.html", path)


@given(st.lists(st.text(max_size=120), unique=True, max_size=8))
def test_file_names_are_safe_and_differ(names: list[str]) -> None:
    taken: set[str] = set()
    stems = [stem_of(name, taken) for name in names]
    assert len(set(stems)) == len(stems)
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9_-]{0,95}", stem) for stem in stems)


def test_a_command_to_paste_is_ours_and_quoted() -> None:
    task = load_task("nanolm_chinchilla")
    attack = "x'; rm -rf ~; echo '$(reboot)`id`"
    text, constants = samples.CHINCHILLA["power law"]
    entry = samples.an_entry(task, attack, {"loss": text}, {"loss": {"all": constants}})
    for line in reproduce(entry).lines:
        assert shlex.split(line)[0] == "sld"
        assert not {";", "rm", "&&", "|"} & set(shlex.split(line))
    assert any(attack in shlex.split(line) for line in reproduce(entry).lines)


# --- what the pages say ---------------------------------------------------------------------------------------------


def law_pages(pages: dict[str, str]) -> Iterator[tuple[str, Reader]]:
    for path, text in pages.items():
        if path.startswith("laws/"):
            yield path, Reader(text)


def test_every_entry_has_a_page_and_reported_figures_have_none(ordinary: dict[str, str]) -> None:
    assert len([path for path in ordinary if path.startswith("laws/")]) == len(samples.CHINCHILLA) + 2


def test_reported_figures_stand_apart_and_without_rank(ordinary: dict[str, str]) -> None:
    text = ordinary["tasks/nanolm_chinchilla.html"]
    verified, _, reported = text.partition("Reported elsewhere, not verified here")
    assert "Chinchilla" in verified and "human" not in verified and "human" in reported


def test_scores_that_nobody_could_check_are_not_called_verified() -> None:
    tables = [replace(t, card=None, task=None) for t in samples.ordinary().tasks if t.name == "nanolm_mixture"]
    pages = dict(site(Standings(tuple(tables), ())))
    assert "1 verified law" not in " ".join(pages.values())
    assert "with the scores that their entries record" in pages["tasks/nanolm_mixture.html"]


def test_a_task_page_shows_card_charts_and_formulas(ordinary: dict[str, str]) -> None:
    reader = Reader(ordinary["tasks/nanolm_chinchilla.html"])
    text = " ".join(reader.text)
    card = load_task("nanolm_chinchilla").card
    for said_by_card in (card.licence, card.provenance, card.extrapolation, *card.notes, card.variables[0].meaning):
        assert said_by_card in text
    tags = Counter(tag for tag, _ in reader.elements)
    assert tags["math"] >= 3
    charts = [c for c in reader.with_attribute("class") if "chart" in c.split()]
    assert len(charts) == 9  # three side by side, two for each of three laws


def test_grouped_laws_show_constants_per_group(ordinary: dict[str, str]) -> None:
    (text,) = [" ".join(r.text) for path, r in law_pages(ordinary) if "mixture" in path]
    for group in load_task("nanolm_mixture").train.groups:
        assert group in text


def test_a_task_without_rows_says_how_to_get_them(ordinary: dict[str, str]) -> None:
    assert "sld tasks fetch sldbench" in ordinary["tasks/sldbench_moe.html"]


def test_a_program_shows_its_source(ordinary: dict[str, str]) -> None:
    assert any("return 1 < 2" in " ".join(reader.text) for _, reader in law_pages(ordinary))


@each(
    ("value", "shown"), [(0.98765, "0.988"), (0.99991, "0.9999"), (0.999999, "> 0.9999"), (1.0, "1.000"), (None, NONE)]
)
def test_what_is_not_perfect_is_not_shown_as_perfect(value: float | None, shown: str) -> None:
    assert r2(value) == shown


def test_a_formula_may_break_between_terms() -> None:
    expression = parse("E + A*N**-a - B*(N - 1)", ["N"])
    built = formula(expression, "loss")
    assert built.count("<math>") == built.count("</math>") == 3
    assert built.index('<mo form="infix">+</mo>') < built.index('<mo form="infix">−</mo>')
    Reader(built)


# --- charts ---------------------------------------------------------------------------------------------------------


def test_a_chart_has_a_name_and_a_description() -> None:
    x = np.array([1.0, 10.0, 100.0])
    chart = Chart("c", "Title", "What it shows", span(x, "x"), span(x, "y"), [Dots(x, x, 0), Curve(x, x, 1)])
    reader = Reader(draw(chart))
    assert reader.elements[0][1]["aria-labelledby"] == "c-t c-d"
    assert [tag for tag, _ in reader.elements][1:3] == ["title", "desc"]


@pytest.mark.slow
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=20),
    st.lists(st.floats(width=32), min_size=20, max_size=20),
)
def test_no_data_break_a_chart(x: list[float], y: list[float]) -> None:
    axis = span(np.array(x), "x")
    values, others = np.array(x), np.array(y[: len(x)])
    chart = Chart("c", "t", "d", axis, Axis("y", -1.0, 1.0), [Dots(values, others, 0), Curve(values, others)])
    drawn = draw(chart)
    assert "nan" not in drawn and "inf" not in drawn
    Reader(drawn)
    assert len(axis.ticks()) <= 15


def test_series_differ_by_more_than_colour() -> None:
    from sld.analysis.pages.charts import N_STYLES, key

    assert len({re.sub(r"s\d", "", key(k)) for k in range(N_STYLES)}) == N_STYLES


NASTY = ["E", "N*0 + log(0 - E)", "exp(A*N)", "A/(N - N)", "A*1e90*N**9", "E + A*N**-a", "min(A, N)*0", "N**N"]


@pytest.mark.slow
@each("text", NASTY)
@each("name", ["nanolm_chinchilla", "nanolm_mixture", "nanolm_lr_batch"])
def test_any_law_that_parses_has_its_pages(name: str, text: str) -> None:
    task = load_task(name)
    columns = [t.column for t in task.card.targets]
    names = task.train.parse(text).constants
    constants = {c: {g: dict.fromkeys(names, 1e5) for g in task.train.groups} for c in columns}
    entry = samples.an_entry(task, "law", dict.fromkeys(columns, text), constants)
    failed = entry.scores["failed"]
    unknown = {"r2_low": None, "r2_high": None, "nmse": None, "nmae": None, "are": None} if failed else {}
    table = TaskStandings(name, "", 1, task.card, task, (samples.a_row(entry, 1, **unknown),))
    for page_text in dict(site(Standings((table,), ()))).values():
        Reader(page_text)
        shown = re.sub(r"<pre.*?</pre>|<style.*?</style>|<script.*?</script>", "", page_text, flags=re.DOTALL)
        assert not re.search(r"[ >\"](nan|inf)\b", shown)
    assert not failed or "failed" in page_text


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_same_standings_same_bytes(tmp_path: Path) -> None:
    first = write_site(samples.ordinary(), tmp_path / "a")
    second = write_site(samples.ordinary(), tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert [p.relative_to(tmp_path / "a") for p in first] == [p.relative_to(tmp_path / "b") for p in second]


def test_a_site_is_replaced_page_by_page_and_foreign_files_stay(tmp_path: Path) -> None:
    before = write_site(samples.ordinary(), tmp_path)
    (tmp_path / "CNAME").write_text("example.org")
    (tmp_path / "tasks" / "mine.html").write_text("mine")
    after = write_site(samples.without_entries(), tmp_path)
    assert (tmp_path / "CNAME").read_text() == "example.org" and (tmp_path / "tasks" / "mine.html").exists()
    assert [p for p in before if p.exists()] == [p for p in before if p in after]
    assert not (tmp_path / "laws" / "nanolm_chinchilla").exists()


@pytest.mark.parametrize("listed", ["../victim.html", "/etc/passwd", "tasks/../../victim.html", "laws/a/mine.html"])
def test_a_list_of_pages_cannot_name_a_file_to_remove(tmp_path: Path, listed: str) -> None:
    folder = tmp_path / "site"
    write_site(samples.empty(), folder)
    victims = [tmp_path / "victim.html", folder / "laws" / "a" / "mine.html"]
    for victim in victims:
        victim.parent.mkdir(parents=True, exist_ok=True)
        victim.write_text("mine")
    (folder / MARKER).write_text(f"{listed}\n")
    write_site(samples.empty(), folder)
    assert all(victim.exists() for victim in victims)


@pytest.mark.slow
def test_the_command_writes_a_site_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "board").mkdir()
    assert main(["leaderboard", "--board", str(tmp_path / "board"), "--html", str(tmp_path / "site")]) == 0
    assert (tmp_path / "site" / "index.html").exists()
    capsys.readouterr()
    assert main(["leaderboard", "--html", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"holds other files \('thesis.tex' for one\)"):
        write_site(samples.empty(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="wanted a folder"):
        write_site(samples.empty(), tmp_path / "file")


@pytest.mark.slow
def test_a_site_stopped_halfway_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[Path]()

    def stops(path: Path, text: str) -> None:
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        write_text_atomic(path, text)

    monkeypatch.setattr("sld.board.site.write_text_atomic", stops)
    with pytest.raises(KeyboardInterrupt):
        write_site(samples.ordinary(), tmp_path)
    monkeypatch.undo()
    left = [p for p in tmp_path.rglob("*.html")]
    assert left and all(p.read_text().endswith("</html>\n") for p in left)
    assert all(p.exists() for p in write_site(samples.ordinary(), tmp_path))


@pytest.mark.slow
def test_the_largest_boards_still_fit() -> None:
    rng = np.random.default_rng(0)
    groups, targets = 400, [f"loss of {k}" for k in range(8)]
    N = np.tile(np.geomspace(1e6, 1e9, 6), groups)
    columns: dict[str, object] = {t: 1 + 30 * N**-0.2 + 0.01 * rng.standard_normal(len(N)) for t in targets}
    columns |= {"N": N, "family": np.repeat([f"{k} & company" for k in range(groups)], 6)}
    task = task_from(columns, name="large", target=targets, scale="N", group="family")
    values = {"E": 1.0, "A": 30.123456789, "a": 0.2}
    constants = {t: dict.fromkeys(task.train.groups, values) for t in targets}
    large = samples.an_entry(task, "&" * 80, dict.fromkeys(targets, "E + A*N**-a"), constants, note="&" * 500)
    short = {t: {group: {"A": 2.0} for group in task.train.groups} for t in targets}
    other = samples.an_entry(task, '"' * 80, dict.fromkeys(targets, "A"), short, author="&" * 80)
    listed = [samples.a_row(replace(large, kind="program"), k, slug=f"p{k}") for k in range(2, 7)]
    figures = [samples.a_figure(f"{k} " + "&" * 70, 0.1) for k in range(450)]
    rows = (samples.a_row(large, 1), samples.a_row(other, 2, slug="other"), *listed, *figures)
    table = TaskStandings("large", "Large", 1, task.card, task, rows)
    means = {f"t{j}": 0.5 for j in range(15)}
    overall = tuple(OverallRow(f"{k} " + "&" * 70, "refitted", 0.5, 2, means) for k in range(450))
    sizes = {path: len(text.encode()) for path, text in site(Standings((table,), overall))}
    assert max(sizes.values()) <= 1_000_000, sizes


@pytest.mark.slow
def test_json_shown_is_the_entry(ordinary: dict[str, str]) -> None:
    hashes = set()
    for _, reader in law_pages(ordinary):
        text = "".join(reader.text)
        begin = text.index("characters", text.index("The entry")) + len("characters")
        data, _ = json.JSONDecoder().raw_decode(text[begin:].lstrip())
        hashes.add(data["hash"])
    assert hashes == {row.entry.hash for table in samples.ordinary().tasks for row in table.rows if row.entry}
