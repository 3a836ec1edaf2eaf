"""The work of each tool, done in a worker: plain arguments in, a text for a reader and a typed record out.

Paths have been checked where the client's folders are known (`roots`); nothing here opens what was not.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sld.core.errors import DataError, SldWarning, UsageError
from sld.core.numbers import exact, short
from sld.mcp import results as r

if TYPE_CHECKING:
    from sld.analysis.decisions.estimate import Estimate
    from sld.laws.law import Law

Progress = Callable[[float, str], None]
Done = tuple[str, Any]  # a text, and a record of `results`

_EXAMPLES = 6  # values of a column of texts
_SIMPLER = 5  # formulas of the front beside a law


def describe_table(say: Progress, data: object, columns: Mapping[str, Any]) -> Done:
    """Say what is in a table or task, before anything is fitted."""
    from sld import api
    from sld.data.quantities import quantity_of

    say(0.1, "reading")
    bare = api.tasks.is_table_file(data) or not isinstance(data, str)
    if bare and not columns.get("target"):
        return _described_file(data)
    details = api.task_details(api.as_task(data, **columns))
    card = details["card"]
    roles = {v["column"]: v["role"] for v in card["variable"]} | {t["column"]: "target" for t in card["target"]}
    found = [
        r.Column(name, s["n_values"], r.number(s["min"]), r.number(s["max"]), [], roles[name], quantity_of(name) or "")
        for name, s in details["ranges"].items()
    ]
    notes = [*card.get("notes", ()), *details["notes"]]
    findings = _findings(data, {n: role for n, role in roles.items() if role == "target"}) if bare else []
    groups = dict(r.cut(list((details["groups"] or {}).items()), notes, "groups", "the table has them all"))
    record = r.Described(
        card["name"],
        details["n_rows"],
        r.cut(found, notes, "columns", "name the others in a call"),
        groups,
        r.cut(findings, notes, "findings", "settle these first"),
        notes,
        details["n_held_out_rows"],
        [law["name"] for law in card.get("law", ())],
    )
    return _table_text(record), record


def _described_file(data: object) -> Done:
    from sld.data.quantities import quantity_of
    from sld.data.reading import open_source

    source = open_source(data)
    named = [k for k, name in enumerate(source.names) if name]
    cells: dict[str, list[Any]] = {source.names[k]: [] for k in named}
    for batch in source.batches(named):
        for k, values in zip(named, batch.columns, strict=True):
            cells[source.names[k]].extend(values.tolist() if hasattr(values, "tolist") else values)
    notes = list(source.notes())
    found = [_column(name, values, quantity_of(name) or "") for name, values in cells.items()]
    n_rows = len(next(iter(cells.values()), ()))
    if not n_rows:
        raise DataError(f"{source.where} has no rows")
    findings = _findings(data, {})
    notes.append(
        "say what the columns are (target, scale, ...) in the next call; hyper is what has a best value inside"
    )
    shown = r.cut(found, notes, "columns", "name the others in a call")
    record = r.Described(
        source.where, n_rows, shown, {}, r.cut(findings, notes, "findings", "settle these first"), notes
    )
    return _table_text(record), record


def _column(name: str, values: Sequence[Any], quantity: str) -> r.Column:
    import numpy as np

    from sld.data.formats.source import is_missing
    from sld.data.numbers import NumberColumn

    try:
        column = NumberColumn(name, "")
        column.add(values, str)
        numbers = column.finish(str)[0]
        numbers = numbers[~np.isnan(numbers)]
    except DataError:  # texts
        distinct = list(dict.fromkeys(str(v) for v in values if not is_missing(v)))
        return r.Column(name, len(distinct), None, None, [v[:60] for v in distinct[:_EXAMPLES]], "", quantity)
    if not len(numbers):
        return r.Column(name, 0, None, None, [], "", quantity)
    ends = r.number(numbers.min()), r.number(numbers.max())
    return r.Column(name, len(np.unique(numbers)), *ends, [], "", quantity)


def _findings(data: object, roles: Mapping[str, str]) -> list[str]:
    from sld import api

    try:
        return [f"{found.grade}: {found.text}" for found in api.plausibility(data, dict(roles))]
    except DataError:  # what cannot be compared is said by whoever reads the columns for a fit
        return []


def _table_text(table: r.Described) -> str:
    lines = [f"{table.name}: {table.n_rows:,} rows"]
    if table.n_held_out_rows:
        lines[0] += f", and {table.n_held_out_rows:,} held-out rows to score on"
    for c in table.columns:
        span = f"{_short(c.least)} to {_short(c.greatest)}" if c.least is not None else ", ".join(c.examples)
        what = ", ".join(w for w in (c.role, f"looks like {c.quantity}" if c.quantity and not c.role else "") if w)
        lines.append(f"  {c.name}{f' ({what})' if what else ''}: {span}; {c.n_values:,} values")
    if table.groups:
        lines.append("groups: " + ", ".join(f"{g} ({n})" for g, n in table.groups.items()))
    return "\n".join([*lines, *table.findings, *(f"note: {n}" for n in table.notes)])


def _short(value: r.Number | None) -> str:
    return value if isinstance(value, str) else "-" if value is None else short(value, 4)


def list_tasks(_say: Progress) -> Done:
    """List the tasks that go by a name."""
    from sld import api

    notes: list[str] = []
    there = [t for t in api.task_list() if "problem" not in t]
    shown = r.cut(there, notes, "tasks", "`sld tasks` lists all")
    lines = [
        r.TaskLine(t["name"], t["title"], t["targets"], t["variables"][:8], t["n_rows"], t["n_held_out_rows"])
        for t in shown
    ]
    text = "\n".join(f"{t.name}: {t.title} ({t.n_rows} + {t.n_held_out_rows or 0} rows)" for t in lines)
    return text, r.Tasks(lines, notes)


def fit(
    say: Progress, data: object, law: str, columns: Mapping[str, Any], how: Mapping[str, Any], save: str, name: str
) -> Done:
    """Fit the constants of one form."""
    from sld import api

    say(0.1, "fitting")
    task = api.as_task(data, **columns)
    fitted = api.fit(task, law, **how)
    say(0.9, "fitted")
    fitted.save(save)
    held_out = api.held_out_scores(fitted, task)
    notes = [*fitted.provenance.get("notes", ())]
    for target, where in fitted.provenance.get("gaps", {}).items():
        notes.append(f"{target}: beware, the fitted law has {where}")
    record = r.Fitted(
        name,
        _formulas(fitted),
        _constants(fitted, notes),
        _level(fitted),
        {t: r.number(d["nmse"]) for t, d in fitted.provenance["fit"].items()},
        _r2(held_out),
        notes,
    )
    return _law_text(record, fitted), record


def discover(
    say: Progress,
    data: object,
    columns: Mapping[str, Any],
    search: Mapping[str, Any],
    folder: str | None,
    save: str,
    name: str,
) -> Done:
    """Search a law."""
    from sld import api

    def progress(state: Any) -> None:
        best = f"; best {state.best.text}" if state.best is not None else ""
        say(min(0.99, state.fraction), f"{state.tried} formulas in {state.seconds:.0f} s{best}")

    task = api.as_task(data, **columns)
    # a text is no language model of ours: the agent is one already
    found = api.discover(task, out=folder, progress=progress, **search)
    found.law.save(save)
    notes = list(found.notes)
    if not found.chosen.admissible:
        notes.append(f"beware: {'; '.join(found.chosen.reasons)}")
    simpler = [c.text for c in found.front if c.complexity < found.chosen.complexity][-_SIMPLER:]
    record = r.Discovered(
        name,
        _formulas(found.law),
        _constants(found.law, notes),
        _level(found.law),
        found.verdict.kind,
        found.verdict.sentence,
        {s: r.number(v) for s, v in found.verdict.reach.items()},
        {f.name: r.number(e) for f, e in zip(found.folds, found.chosen.fold_errors, strict=False)},
        simpler[::-1],
        int(found.counts.get("tried", 0)),
        found.n_fits,
        _r2(api.held_out_scores(found.law, task)),
        notes,
        folder,
    )
    return f"verdict: {record.sentence}\n{_law_text(record, found.law)}", record


def _formulas(law: Law) -> dict[str, str]:
    return {target: expression.text for target, expression in law.expressions.items()}


def _constants(law: Law, notes: list[str]) -> list[r.Constant]:
    from sld.analysis.intervals import constant_intervals

    spans = constant_intervals(law) if law.intervals is not None else {}
    found = []
    for target, by_group in law.constants.items():
        for group, values in by_group.items():
            for name, value in values.items():
                ends = spans.get(target, {}).get(group, {}).get(name) or (None, None)
                low, high = (None if e is None else r.number(e) for e in ends)
                found.append(r.Constant(target, group, name, r.number(value), low, high))
    return r.cut(found, notes, "constants", "the file of the law has them all")


def _level(law: Law) -> float:
    return float((law.intervals or {}).get("level", 0.0))


def _r2(scores: Any) -> r.Number | None:
    return None if scores is None else r.number(scores.r2)


def _law_text(record: r.Fitted | r.Discovered, law: Law) -> str:
    lines = [f"{target} = {formula}" for target, formula in record.formulas.items()]
    for c in record.constants:
        span = "" if c.low is None else f" ({_short(c.low)} to {_short(c.high)})"
        where = " ".join(w for w in (c.target if len(law.targets) > 1 else "", c.group if law.grouped else "") if w)
        lines.append(f"  {f'{where}: ' if where else ''}{c.name} = {_short(c.value)}{span}")
    if record.r2_held_out is not None:
        lines.append(f"held-out rows: R² {_short(record.r2_held_out)}")
    lines += [f"note: {n}" for n in record.notes]
    return "\n".join([*lines, f"later calls take it as law={record.law!r}"])


def predict(
    say: Progress,
    law: str,
    points: object,
    level: float | None,
    interval: Literal["law", "run"],
    by_formula: bool,
    target: str | None,
) -> Done:
    """Predict runs that were not made."""
    from sld import api
    from sld.data.points_file import with_columns
    from sld.data.table import read_points

    say(0.1, "reading")
    loaded = api.as_law(law).bare if by_formula else api.as_law(law)
    given = api.points_to_predict(loaded, points)
    table = read_points(given, loaded.variables, loaded.group_column)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predicted = api.predict(loaded, given, level=level, interval=interval)
    against = [str(w.message) for w in caught if issubclass(w.category, SldWarning)]
    against += list(table.notes)
    if target is not None:
        _write_rows(with_columns(given, predicted), target)
    columns = [
        *(v.column for v in loaded.variables),
        *([loaded.group_column] if loaded.group_column else []),
        *predicted,
    ]
    named = {v.column: table.column(v.column) for v in loaded.variables} | predicted
    groups = [table.groups[k] for k in table.group_index]

    def row(k: int) -> list[r.Cell]:
        return [r.number(named[c][k]) if c in named else groups[k] for c in columns]

    rest = f"all are in {target}" if target else "say where to write them all (out), or ask for fewer points"
    shown = r.cut(range(table.n_rows), against, "points", rest)
    record = r.Predicted(columns, [row(k) for k in shown], table.n_rows, target, against)
    lines = [
        "  ".join(columns),
        *("  ".join(c if isinstance(c, str) else exact(c) for c in p) for p in record.rows),
    ]
    return "\n".join([*lines, *(f"warning: {w}" for w in against)]), record


def _write_rows(rows: Any, target: str) -> None:
    from sld.core.files import write_text_atomic

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write_text_atomic(target, buffer.getvalue())


def compare(
    say: Progress, laws: Sequence[Any], names: Sequence[str], columns: Mapping[str, Any], how: Mapping[str, Any]
) -> Done:
    """Say which of several laws or recipes wins, and from where on."""
    from sld import api

    say(0.1, "comparing")
    if how.get("by") is not None or len(laws) == 1:
        found = api.compare(*laws, **columns, **how)
    else:
        if len(set(names)) != len(names):
            raise UsageError(f"laws to compare need different names, got {', '.join(names)}")
        found = api.compare(dict(zip(names, laws, strict=True)), **columns, **how)
    notes = list(found.notes)
    pairs = [
        r.PairOfLaws(
            p.one,
            p.other,
            r.number(p.reference),
            r.number(p.better),
            _interval(p.offset),
            _interval(p.slope),
            [_interval(c.at) for c in p.crossings],
        )
        for p in r.cut(found.pairs, notes, "pairs", "compare fewer at a time")
    ]
    record = r.Compared(
        found.target,
        found.way.scale,
        [r.number(x) for x in found.shown],
        found.best,
        {s.after: _interval(s.at) for s in found.switches},
        pairs,
        list(found.warnings),
        notes,
    )
    return found.summary(), record


def _interval(e: Estimate) -> r.Interval:
    low, high = (None if end is None else r.number(end) for end in (e.low, e.high))
    return r.Interval(r.number(e.value), low, high)


def allocate(say: Progress, law: str, budgets: Sequence[float] | None, asked: Mapping[str, Any]) -> Done:
    """Say what to train for a budget."""
    from sld import api

    say(0.1, "allocating")
    found = api.allocate(law, budgets, **asked)
    notes = list(found.notes)
    runs = [
        r.BestRun(
            p.group,
            _interval(p.budget),
            {s: _interval(e) for s, e in p.point.items()},
            _interval(p.loss),
            None if p.ratio is None else _interval(p.ratio),
            list(p.beyond),
        )
        for p in r.cut(found.plans, notes, "runs", "ask for one group or fewer budgets")
    ]
    record = r.Allocated(
        found.law,
        found.target,
        found.cost_formula,
        found.unit,
        found.level,
        runs,
        {g: {s: _interval(e) for s, e in growth.exponents.items()} for g, growth in found.growth.items()},
        {g: r.number(growth.supported) for g, growth in found.growth.items() if growth.supported is not None},
        notes,
    )
    return found.summary(), record


def plan_next_runs(
    say: Progress, law: str, budget: float, rows: object, columns: Mapping[str, Any], asked: Mapping[str, Any]
) -> Done:
    """Say which runs to pay for next."""
    from sld import api

    say(0.1, "planning")
    if rows is not None:
        asked = {**asked, "rows": api.as_task(rows, **columns) if columns else rows}
    goal = asked.get("goal")
    found = api.next_runs(law, budget, goal, **{k: v for k, v in asked.items() if k != "goal"})
    notes = list(found.notes)
    runs = [
        r.NextRun(
            p.batch,
            p.group,
            {s: r.number(x) for s, x in p.point.items()},
            r.number(p.cost),
            r.number(p.spent),
            p.repeat,
            p.fills,
            [r.number(w) for w in p.widths],
        )
        for p in r.cut(found.runs, notes, "runs", "ask for fewer (runs)")
    ]
    questions = [
        r.AskedFor(
            a.name,
            r.Interval(r.number(a.value), *(None if e is None else r.number(e) for e in (a.low, a.high))),
            r.number(a.width),
            r.number(a.expected),
            "ratio" if a.kind == "ratio" else "value",
        )
        for a in r.cut(found.asked, notes, "numbers asked for", "ask for fewer points")
    ]
    record = r.Planned(
        found.goal, questions, runs, r.number(found.spent), r.number(found.budget), found.unit, found.done, notes
    )
    return found.summary(), record


def count_parameters(_say: Progress, config: object, sequence: int | None, approximate: bool) -> Done:
    """Count the parameters of a model from its configuration."""
    from sld import api

    found = api.count(config, sequence=sequence, approximate=approximate)
    facts = found.to_json()
    record = r.Counted(
        found.architecture,
        facts["parameters"],
        facts["flops_per_token"]["6N"],
        r.number(facts["flops_per_token"]["training"]),
        found.sequence,
        found.model.unit,
        list(found.notes),
    )
    return found.summary(), record


def diagnose(say: Progress, law: str, data: object, asked: Mapping[str, Any]) -> Done:
    """Say what the runs behind a law say against it."""
    from sld import api

    say(0.1, "fitting again without each rung and run")
    found = api.diagnose(law, data, **asked)
    notes: list[str] = []
    record = r.Diagnosed(
        found.target,
        r.number(found.residual_sd),
        "log" if found.log else "linear",
        [
            r.Rung(x.variable, r.number(x.low), r.number(x.high), r.number(x.missed), x.outermost)
            for x in r.cut(found.rungs, notes, "rungs", "the command `sld diagnose --json` has them all")
        ],
        [
            r.Run(x.run, r.number(x.moved))
            for x in r.cut(found.runs, notes, "runs", "those left out move the answer less")
        ],
        [
            f"{v.variable} = {short(v.value, 4)}: mean {short(v.mean)}, by chance {short(v.band)}"
            for v in found.levels
            if v.outside
        ][: r.MOST_ROWS],
        list(found.design),
        notes,
    )
    return found.summary(), record


def read_catalogue(_say: Progress, law: str | None, category: str | None) -> Done:
    """List the published laws, or say everything of one."""
    from sld.core.errors import suggest
    from sld.laws.catalogue import get_law, load_catalogue

    notes: list[str] = []
    entries = [get_law(law)] if law is not None else list(load_catalogue())
    if category is not None:
        known = sorted({e.category for e in entries})
        entries = [e for e in entries if e.category == category]
        if not entries:
            raise UsageError(suggest(category, known, kind="category"))
    shown = r.cut(entries, notes, "laws", "name a category or a law") if law is None else entries
    if law is None and category is None:
        notes.append("categories: " + ", ".join(sorted({e.category for e in entries})))
    record = r.Catalogue([_published(e, full=law is not None) for e in shown], notes)
    lines = [f"{e.id}: {e.formula}" + (f" ({e.source})" if law is not None else "") for e in record.laws]
    if law is not None:
        lines += [f"  {symbol}: {meaning}" for symbol, meaning in record.laws[0].variables.items()]
        for label, values in record.laws[0].published.items():
            lines.append(f"  {label}: " + ", ".join(f"{n} = {_short(v)}" for n, v in values.items()))
        lines += [f"  {n}" for n in record.laws[0].notes]
    return "\n".join([*lines, *(f"note: {n}" for n in notes)]), record


def _published(entry: Any, *, full: bool) -> r.PublishedLaw:
    paper = entry.paper
    notes = [n for n in (entry.asymptotics, entry.notes, entry.reason) if n] if full else []
    return r.PublishedLaw(
        entry.id,
        entry.name,
        entry.category,
        entry.formula,
        {v.symbol: f"{v.role}; {v.meaning}" if full else v.role for v in entry.variables},
        {c.symbol: f"{c.sign}; {c.meaning}" for c in entry.constants} if full else {},
        {p.label: {n: r.number(v) for n, v in p.values.items()} for p in entry.published} if full else {},
        f"{paper.authors} ({paper.year}). {paper.title}" + (f", arXiv:{paper.arxiv}" if paper.arxiv else ""),
        entry.status,
        notes,
    )


def submit(_say: Progress, law: str, task: str, name: str, board: str, author: str, note: str) -> Done:
    """Score a law on the held-out rows of a task and write the entry."""
    from sld import api

    if law.strip().lower().endswith(".py"):
        raise UsageError("programs are submitted with the command `sld submit`, which locks them up; name a law here")
    done = api.submit(law, task, name=name, board=board, author=author, note=note)
    scores = done.entry.scores
    low, high = scores.get("r2_interval") or (None, None)
    record = r.Entered(
        done.entry.name,
        str(done.entry.task["name"]),
        r.number(scores["r2"]),
        None if low is None else r.number(low),
        None if high is None else r.number(high),
        done.new,
        str(done.path),
        list(done.remarks),
    )
    state = "written to" if done.new else "the same law is there already:"
    return "\n".join(
        [f"{record.name} on {record.task}: R² {_short(record.r2)}; {state} {record.file}", *done.remarks]
    ), record


VERBS: Mapping[str, Callable[..., Done]] = {
    verb.__name__: verb
    for verb in (
        describe_table, list_tasks, fit, discover, predict, compare, allocate, plan_next_runs, count_parameters,
        diagnose, read_catalogue, submit,
    )
}  # fmt: skip
