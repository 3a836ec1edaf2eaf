"""How each result looks: as text for people, or as the one JSON document of the command."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.cli.output import ProgressLine, duration, remark, say, say_json, say_table, shown

if TYPE_CHECKING:
    from sld.board.suites.fetch import Fetched
    from sld.data.scoring import Scores
    from sld.laws.catalogue import CatalogueLaw, LawVariable
    from sld.laws.law import Law
    from sld.search.loop import Progress
    from sld.search.outcome import Discovery

_MAX_GROUPS = 12  # constants of more groups are left to law.json
_MAX_RUNNERS_UP = 3
_ILL_DETERMINED = 1e5  # condition number; some combination of constants is then known to less than one digit


def tasks(summaries: Sequence[Mapping[str, Any]], json: bool) -> None:
    """Show `sld tasks`."""
    if json:
        say_json({"tasks": summaries})
        return
    rows = []
    for task in summaries:
        name = task["name"] if task["origin"] == "bundled" else f"{task['name']} ({task['origin']})"
        if "problem" in task:
            remark(f"skipped {task['path']}: {task['problem']}")
            continue
        size = f"{task['n_rows']} + {task['n_held_out_rows'] or 0}"
        rows.append([name, size, _relation(task), task["title"]])
    say_table(rows, ("task", "rows + held out", "law", "what"), indent="")
    remark("\nsld tasks show NAME tells more\nsld discover NAME searches its law")


def _relation(task: Mapping[str, Any]) -> str:
    group = f" per {task['group']}" if task["group"] else ""
    return f"{_some(task['targets'])} from {_some(task['variables'])}{group}"


def _some(names: Sequence[str], most: int = 4) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def task(details: Mapping[str, Any], json: bool) -> None:
    """Show `sld tasks show`."""
    if json:
        say_json(details)
        return
    card = details["card"]
    title = f": {card['title']}" if card.get("title") else ""
    say(f"{card['name']} (version {card['version']}){title}")
    held_out = details["n_held_out_rows"]
    say(f"  {details['n_rows']} training rows, {held_out if held_out is not None else 'no'} held-out rows")
    for label, key in (("one row", "row"), ("held out", "extrapolation"), ("cost of a row", "cost")):
        if card.get(key):
            say(f"  {label}: {card[key]}")
    print()
    rows = [_column_row("variable", v, details["ranges"][v["column"]]) for v in card["variable"]]
    rows += [_column_row("target", t, details["ranges"][t["column"]]) for t in card["target"]]
    say_table(rows, ("column", "role", "from", "to", "values", "meaning"))
    if details["groups"]:
        print()
        meaning = f" ({card['group']['meaning']})" if card["group"].get("meaning") else ""
        say(f"groups by {card['group']['column']}{meaning}:")
        say_table([[name, f"{n} rows"] for name, n in details["groups"].items()])
    if card.get("law"):
        print()
        say("published laws (sld fit TASK --law NAME):")
        for law in card["law"]:
            say(f"  {law['name']}: {_formula_text(law['expression'])}")
    remarks = [*card.get("notes", ()), *details["notes"]]
    if remarks:
        print()
        say("notes:")
        for text in remarks:
            say(f"  {text}")
    print()
    for key in ("licence", "provenance"):
        if card.get(key):
            say(f"{key}: {card[key]}")


def _column_row(kind: str, column: Mapping[str, Any], span: Mapping[str, Any]) -> list[str]:
    role = column.get("role", kind)
    unit = f" [{column['unit']}]" if column.get("unit") else ""
    notes = [column.get("meaning", "") + unit]
    if column.get("monotone"):
        notes.append(f"target {column['monotone']}")
    if column.get("extrapolate"):
        notes.append("extrapolated")
    if kind == "target":
        notes.append(f"{column['better']} is better")
    text = "; ".join(note.strip() for note in notes if note.strip())
    return [column["column"], role, shown(span["min"]), shown(span["max"]), str(span["n_values"]), text]


def _formula_text(expression: str | Mapping[str, str]) -> str:
    if isinstance(expression, str):
        return expression
    if len(set(expression.values())) == 1:
        return next(iter(expression.values()))
    return "; ".join(f"{target}: {text}" for target, text in expression.items())


def problems(path: str, sentences: Sequence[str], json: bool) -> None:
    """Show `sld tasks check`."""
    if json:
        say_json({"path": path, "ok": not sentences, "problems": sentences})
        return
    for sentence in sentences:
        say(sentence)
    if not sentences:
        say(f"{path}: nothing wrong")


def fetched(tasks: Sequence[Fetched], suite: str, folder: Path, by_name: bool, json: bool) -> None:
    """Show `sld tasks fetch`."""
    if json:
        listed = [{**asdict(task), "path": str(task.path)} for task in tasks]
        say_json({"suite": suite, "folder": str(folder), "tasks": listed})
        return
    rows = [[task.name, f"{task.n_rows} + {task.n_held_out_rows}", task.state] for task in tasks]
    say_table(rows, ("task", "rows + held out", "now"), indent="")
    named = tasks[0].name if by_name else shlex.quote(str(tasks[0].path))
    remark(f"\nin {folder}; each has a README.md with its origin\nsld discover {named} searches its law")


def laws(catalogue: Sequence[CatalogueLaw], json: bool) -> None:
    """Show `sld laws`."""
    if json:
        say_json({"laws": [_law_summary(law) for law in catalogue]})
        return
    say_table([[law.id, law.formula] for law in catalogue], ("law", "formula"), indent="")
    remark("\nsld laws show NAME tells more\nsld fit TASK --law NAME fits one")


def _law_summary(law: CatalogueLaw) -> dict[str, Any]:
    return {
        "id": law.id,
        "name": law.name,
        "category": law.category,
        "formula": law.formula,
        "variables": [v.symbol for v in law.variables],
        "constants": [c.symbol for c in law.constants],
        "status": law.status,
    }


def law(entry: CatalogueLaw, json: bool) -> None:
    """Show `sld laws show`."""
    if json:
        from dataclasses import asdict

        say_json(asdict(entry))
        return
    say(f"{entry.id}: {entry.name} ({entry.category})")
    print()
    say(f"  {entry.response} = {entry.formula}")
    if entry.general:
        say(f"  for any number of shares: {entry.general}")
    print()
    say_table([_law_variable_row(v) for v in entry.variables], ("variable", "role", "from", "to", "meaning"))
    print()
    say_table(
        [[c.symbol, shown(c.example), c.sign, c.meaning] for c in (*entry.constants, *entry.share_constants)],
        ("constant", "example", "sign", "meaning"),
    )
    for published in entry.published:
        print()
        say(f"published ({published.label}; {published.source}):")
        for name, value in published.values.items():
            interval = published.intervals.get(name)
            span = f" ({shown(interval[0])} to {shown(interval[1])})" if interval else ""
            say(f"  {name} = {shown(value, 6)}{span}")
    print()
    paper = entry.paper
    arxiv = f", arXiv:{paper.arxiv}" if paper.arxiv else ""
    say(f"source: {paper.authors} ({paper.year}). {paper.title}{arxiv} [{entry.status.replace('_', ' ')}]")
    for label, text in (("limits", entry.asymptotics), ("notes", entry.notes), ("not in the grammar", entry.reason)):
        if text:
            say(f"{label}: {text}")


def _law_variable_row(variable: LawVariable) -> list[str]:
    low, high = variable.domain
    unit = f" [{variable.unit}]" if variable.unit else ""
    return [variable.symbol, variable.role, shown(low), shown(high), variable.meaning + unit]


def progress(line: ProgressLine) -> Callable[[Progress], None]:
    """Return what a search calls with its state."""

    def show(state: Progress) -> None:
        best = ""
        if state.best is not None:
            errors = state.best.fold_errors
            worst = f" (error on unseen rungs {shown(_typical(errors), 2)})" if errors else ""
            best = f"; best {state.best.text}{worst}"
        line.show(f"{duration(state.seconds)} {100 * state.fraction:3.0f} % formulas: {state.tried}{best}")

    return show


def _typical(errors: Iterable[float]) -> float:
    """Return the median fold error; a failed fold counts as the worst."""
    from statistics import median

    known = [e if e == e else float("inf") for e in errors]
    return median(known) if known else float("nan")


def dry_run(asked: Mapping[str, Any], json: bool) -> None:
    """Show `sld discover --llm-dry-run`."""
    if json:
        say_json(asked)
        return
    for message in asked["messages"]:
        print(f"--- {message['role']}\n{message['content']}\n")
    tools = f" and {len(asked['tools'])} tools" if asked["tools"] else ""
    cost = "no price known" if asked["cost_usd"] is None else f"${asked['cost_usd']:.4f} at most"
    say(
        f"a first call of {asked['model']}: about {asked['tokens_in']} tokens with this prompt{tools}, "
        f"and up to {asked['tokens_out']} of the answer, {cost}; nothing was sent"
    )


def _language_model(found: Discovery) -> None:
    about, ledger = found.llm, found.llm["ledger"]
    cost = "" if not ledger["cost_usd"] else f", ${ledger['cost_usd']:.4f}"
    tokens = ledger["tokens_in"] + ledger["tokens_out"]
    say(
        f"language model {about['model']}: {_of(about['calls'], 'call')}, {tokens} tokens{cost}; "
        f"{_of(about['judged'], 'formula')} judged, {sum(about['rejected'].values())} not readable"
    )
    if about["remark"]:
        say(f"  {about['remark']}")
    if found.chosen.of_model:
        say("  the law is its proposal" if not found.chosen.lineage else "  the law descends from its proposal")
    failed = sum(about["failed"].values())
    if failed:
        why = max(about["failed"], key=lambda reason: (about["failed"][reason], reason))
        say(f"  {_of(failed, 'call')} failed: {why}")


def _of(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def discovery(found: Discovery, held_out: Scores | None, folder: Path, source: str, json: bool) -> None:
    """Show `sld discover`."""
    files = sorted(file.name for file in folder.iterdir() if file.is_file() and not file.name.endswith(".lock"))
    if json:
        say_json(
            {
                "law": found.law.to_json(),
                "constant_intervals": _spans(found.law),
                "verdict": found.verdict.to_json(),
                "origin": found.chosen.origin,
                **({"lineage": found.chosen.lineage, "llm": found.llm} if found.llm else {}),
                "consensus": found.chosen.consensus,
                "single": None if found.single is None else found.single.to_json(),
                "complexity": found.chosen.complexity,
                "n_constants": found.chosen.n_constants,
                "score": found.chosen.score,
                "train_nmse": found.chosen.train_nmse,
                "admissible": found.chosen.admissible,
                "reasons": found.chosen.reasons,
                "folds": [
                    {"name": fold.name, "n_rows": len(fold.test), "nmse": error}
                    for fold, error in zip(found.folds, found.chosen.fold_errors, strict=False)
                ],
                "noise": found.noise,
                "held_out": None if held_out is None else held_out.to_json(),
                "front": [_candidate(c) for c in found.front],
                "counts": found.counts,
                "n_fits": found.n_fits,
                "seconds": round(found.seconds, 3),
                "interrupted": found.interrupted,
                "config": found.config,
                "run_dir": str(folder),
                "files": files,
                "notes": found.notes,
            }
        )
        return
    if found.interrupted:
        say(f"interrupted after {duration(found.seconds)}: this is the best law so far; the same command goes on")
        print()
    if found.verdict.kind != "law":
        say(found.verdict.sentence)
        print()
    _law(found.law)
    if found.best is not None:
        say(f"the formula that follows {found.chosen.consensus} good laws best; the best law by itself (single.json):")
        say(f"  {found.best.text} (error {shown(_typical(found.best.fold_errors), 3)})")
    print()
    say("error on rungs that the fit had not seen (mean squared error / variance):")
    say_table(
        [
            [shown(error, 3), f"{len(fold.test)} rows", fold.name]
            for fold, error in zip(found.folds, found.chosen.fold_errors, strict=False)
        ]
    )
    if found.noise is not None:
        sd, nmse = found.noise["relative_sd"], found.noise["nmse"]
        say(f"noise floor, from repeated runs: {100 * sd:.2g} % of the target, error {shown(nmse, 3)}")
    _held_out(held_out, found.law.grouped)
    if found.verdict.kind == "law":
        say(f"verdict: {found.verdict.sentence}")
    if not found.chosen.admissible:
        say(f"beware: {'; '.join(found.chosen.reasons)}")
    for text in found.notes:
        say(f"note: {text}")
    print()
    tried = found.counts.get("tried", 0)
    say(f"{tried} formulas tried in {duration(found.seconds)} ({found.n_fits} fits); simpler ones of the front:")
    simpler = [c for c in found.front if c.complexity < found.chosen.complexity][-_MAX_RUNNERS_UP:]
    for candidate in reversed(simpler):
        say(f"  {candidate.text} (error {shown(_typical(candidate.fold_errors), 3)})")
    if not simpler:
        say("  none")
    if found.llm:
        _language_model(found)
    print()
    say(f"written to {folder}/: {', '.join(files)}")
    _next_steps(folder, source, held_out is not None)


def _candidate(candidate: Any) -> dict[str, Any]:
    return {
        "expression": candidate.text,
        "origin": candidate.origin,
        "complexity": candidate.complexity,
        "n_constants": candidate.n_constants,
        "score": candidate.score,
        "fold_errors": candidate.fold_errors,
        "train_nmse": candidate.train_nmse,
        "admissible": candidate.admissible,
    }


def _next_steps(path: Path, source: str, scored: bool) -> None:
    run = shlex.quote(str(path))
    say("next:")
    say(f"  sld predict {run} points.csv")
    if scored:
        say(f"  sld score {run} {shlex.quote(source)}")


def _spans(law: Law) -> dict[str, dict[str, dict[str, tuple[float, float] | None]]] | None:
    """Return the intervals of the constants by target, group and name, or None for a law without."""
    from sld.analysis.intervals import constant_intervals

    return None if law.intervals is None else constant_intervals(law)


def _law(law: Law) -> None:
    """Print the formulas with their constants named, and the constants below."""
    for k, (target, expression) in enumerate(law.expressions.items()):
        if k:
            print()
        say(f"{target} = {expression.text}")
        print()
        if not expression.constants:
            continue
        if law.grouped:
            _constants_by_group(law, target)
        else:
            _constants(law, target)
        _limit(law, target)


def _constants(law: Law, target: str) -> None:
    ((group, values),) = law.constants[target].items()
    rows = [[name, shown(value, law.digits(target))] for name, value in values.items()]
    if law.intervals is None:
        say_table(rows)
        return
    spans = _span_texts(law, target)[group]
    say_table([[*row, spans[row[0]]] for row in rows], ("", "", f"{_percent_level(law)} interval"))


def _constants_by_group(law: Law, target: str) -> None:
    by_group, names = law.constants[target], law.expressions[target].constants
    groups = list(by_group)[:_MAX_GROUPS]
    header = [law.group_column or "group", *names]
    digits = law.digits(target, 4)
    say_table([[group, *(shown(by_group[group][name], digits) for name in names)] for group in groups], header)
    if len(by_group) > len(groups):
        say(f"  ... and {len(by_group) - len(groups)} more groups in law.json")
    if law.intervals is not None:
        spans = _span_texts(law, target)
        say(f"  {_percent_level(law)} intervals:")
        say_table([[group, *(spans[group][name] for name in names)] for group in groups], header)
    settings = law.settings[target]
    if settings.shared:
        say(f"  the same in all groups: {', '.join(settings.shared)}")
    if settings.prior is not None:
        say(f"  pulled together by as much as the rows say: {', '.join(settings.prior.constants)}")


def _span_texts(law: Law, target: str) -> dict[str, dict[str, str]]:
    """Return the interval of each constant in words, by group."""
    from sld.analysis.intervals import constant_intervals, unknown_constants

    unknown = unknown_constants(law)[target]
    return {
        group: {
            name: f"unknown: {unknown[group][name]}" if ends is None else f"{shown(ends[0], 3)} to {shown(ends[1], 3)}"
            for name, ends in by_name.items()
        }
        for group, by_name in constant_intervals(law)[target].items()
    }


def _percent_level(law: Law) -> str:
    return f"{100 * (law.intervals or {}).get('level', 0.0):.0f} %"


def _limit(law: Law, target: str) -> None:
    """Say what the law tends to with scale, where a constant of the formula reads as if it did."""
    from sld.laws.remarks import about_limit

    if text := about_limit(law, target):
        say(text)


def _held_out(result: Scores | None, grouped: bool) -> None:
    if result is None:
        return
    if result.failed:
        say(f"held-out rows: the law has no finite prediction on some of the {result.n_rows}")
        return
    within = f" pooled, {shown(result.r2_within)} within groups" if grouped else ""
    say(f"held-out rows: R² {shown(result.r2)}{within} ({result.n_rows} rows)")


def fitted(law: Law, held_out: Scores | None, out: Path | None, source: str, json: bool) -> None:
    """Show `sld fit`."""
    fits: Mapping[str, Mapping[str, Any]] = law.provenance["fit"]
    if json:
        say_json(
            {
                "law": law.to_json(),
                "constant_intervals": _spans(law),
                "fit": fits,
                "held_out": None if held_out is None else held_out.to_json(),
                "out": None if out is None else str(out),
            }
        )
        return
    _law(law)
    print()
    for target, fit in fits.items():
        name = f"{target}: " if len(fits) > 1 else ""
        reached = f"{fit['n_at_best']} of {fit['n_starts']} starts reached the optimum"
        say(f"{name}training error {shown(fit['nmse'], 3)} of the variance; {reached}")
        if fit["at_bounds"]:
            say(f"{name}on a bound: {', '.join(fit['at_bounds'])}")
        if where := law.provenance.get("gaps", {}).get(target):
            say(f"{name}beware: the fitted law has {where}")
        if not fit["condition"] < _ILL_DETERMINED:
            say(f"{name}the data do not determine every constant (condition number {shown(fit['condition'], 2)})")
    for text in law.provenance.get("notes", ()):
        say(f"note: {text}")
    _held_out(held_out, law.grouped)
    if out is not None:
        print()
        say(f"written to {out}")
        _next_steps(out, source, held_out is not None)


def predictions(rows: Iterator[list[str]], out: Path | None) -> None:
    """Write the CSV of `sld predict`."""
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
        return
    from sld.core.files import write_text_atomic

    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write_text_atomic(out, buffer.getvalue())
    remark(f"written to {out}")


def warn_of_verdict(caution: str) -> None:
    """Say so where the law itself says not to use it."""
    if caution:
        remark(f"warning: {caution}")


def warn_of_gaps(predicted: Mapping[str, Any]) -> None:
    """Say so where the law gives no number: beyond the domain of its formula."""
    for name, values in predicted.items():
        gaps = sum(1 for value in values.tolist() if not isfinite(value))
        if gaps and not name.endswith(("_low", "_high")):
            remark(f"{name}: no finite prediction for {gaps} of {len(values)} points (outside the formula's domain)")


def predictions_json(predicted: Mapping[str, Any], law: str, out: Path | None) -> None:
    """Show `sld predict --json`."""
    n_rows = len(next(iter(predicted.values())))
    say_json({"law": law, "n_rows": n_rows, "predictions": predicted, "out": None if out is None else str(out)})


def scores(result: Scores, json: bool) -> None:
    """Show `sld score`."""
    if json:
        say_json(result.to_json())
        return
    if result.failed:
        say(f"failed: no finite prediction on some of the {result.n_rows} rows (counted as R² = -1)")
        return
    say_table(
        [
            ["R² pooled", shown(result.r2)],
            ["R² within groups", shown(result.r2_within)],
            ["NMSE", shown(result.nmse)],
            ["NMAE", shown(result.nmae)],
            ["ARE", shown(result.are)],
            ["rows", str(result.n_rows)],
        ],
        indent="",
    )
