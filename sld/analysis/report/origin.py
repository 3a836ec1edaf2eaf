"""How a law came about: the search, the language model, the data, the command that repeats it, the checklist."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sld.analysis.report.checklist import NOT_REPORTED, filled, known_fields
from sld.analysis.report.facts import Facts
from sld.analysis.report.text import percent, row, typical
from sld.core.numbers import exact, short
from sld.data.reading import STANDARD_INPUT
from sld.data.table import Table

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.outcome import Discovery

_WRITTEN_OUT = 3  # planned runs in the command that repeats a search; it is one line
_SHOWN_FRONT = 15


def search(facts: Facts) -> list[str]:
    """Show what was tried."""
    counts = dict(facts.found.counts)
    tried = counts.pop("tried", 0)
    judged, failing = counts.pop("judged", 0), counts.pop("inadmissible", 0)
    lines = ["## The search", ""]
    lines.append(f"{tried} forms were tried with {facts.found.n_fits} fits; {judged} could be judged.")
    lines.append("")
    lines += [f"- {failing} judged, but failing a physical check where the law will be used"] if failing else []
    lines += [f"- {n} rejected: {why}" for why, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    lines += ["", f"The search took {facts.found.seconds:.0f} seconds.", ""]
    lines += ["Best form of each size (lower scores extrapolate better):", ""]
    lines += [
        "| nodes | constants | score | fit error | typical fold error | proposed by | form |",
        "|---" * 7 + "|",
    ]
    for c in facts.found.front[-_SHOWN_FRONT:]:
        errors = (percent(c.train_nmse), percent(typical(c.fold_errors)))
        lines.append(row(str(c.complexity), str(c.n_constants), f"{c.score:.3f}", *errors, c.origin, f"`{c.text}`"))
    return lines


def model(facts: Facts) -> list[str]:
    """Show what a language model contributed."""
    about = facts.found.llm
    if not about:
        return []
    ledger, gain, best = about["ledger"], about["gain"], about["best_law_improved"]
    cost = "no price known" if ledger["cost_usd"] is None else f"${ledger['cost_usd']:.4f}"
    lines = ["## The language model", ""]
    how = "in turns with tools" if about["mode"] == "agent" and not about["remark"] else "as a proposer"
    said = f"what was said is in `{about['transcript']}`" if about["transcript"] else "nothing was said"
    lines.append(
        f"`{about['model']}` took part ({how}): "
        f"{about['calls']} calls, {ledger['tokens_in']} tokens in, {ledger['tokens_out']} out, {cost}. What it "
        f"proposed was judged like everything else; {said}."
    )
    lines += ["", row("", "fits", "judged", "best law improved", "log error gained"), "|---|---|---|---|---|"]
    share, judged = about["share_of_fits"], about["judged"] + about["descendants"]
    tried = facts.found.counts.get("tried", 0) - judged
    for who, name, part, n in (
        ("engine", "the engine", 1 - share, tried),
        ("model", "the model's formulas and their descendants", share, judged),
    ):
        lines.append(row(name, percent(part), str(n), str(best[who]), short(gain[who])))
    lines += ["", f"Asked for in turns with tools: {about['remark']}."] if about["remark"] else []
    lines += ["", f"- formulas of its own judged: {about['judged']}; bred from them for its share: {about['bred']}"]
    looked = about.get("fits_of_tools", 0)
    lines += [f"- fits of its tools, which looked at formulas judged already: {looked}"] if looked else []
    lines += [f"- {about['known']} were known already"] if about["known"] else []
    lines += [f"- {n} not readable: {why}" for why, n in sorted(about["rejected"].items())]
    lines += [f"- {about['ignored']} repeated, or beyond what one reply may have"] if about["ignored"] else []
    lines += [f"- {n} calls failed: {' '.join(why.split())[:200]}" for why, n in sorted(about["failed"].items())]
    lines += ["- the last call had no answer yet when the search ended"] if about["cancelled"] else []
    lines += [f"- no more was asked: {' '.join(about['stopped'].split())[:200]}"] if about["stopped"] else []
    granted = ", ".join(f"{percent(s)} after {i}" for i, s in about["shares"][:12])
    lines += [f"- share of the fits granted, by what was earned: {granted} candidates"] if granted else []
    lines += ["", *lineage(facts)]
    return lines


def lineage(facts: Facts) -> list[str]:
    """Show what the law descends from."""
    chosen = facts.found.chosen
    if not chosen.of_model:
        if facts.found.llm["had_the_law"]:
            return [f"The law came from the engine (`{chosen.origin}`); the model proposed the same family."]
        return ["The law is the engine's own: it does not descend from what the model proposed."]
    if not chosen.lineage:
        return ["The law was proposed by the model."]
    first, *rest = chosen.lineage
    lines = ["The law descends from what the model proposed:", "", f"1. `{first}`"]
    lines += [f"{k}. `{text}`" for k, text in enumerate(rest, start=2)]
    return [*lines, f"{len(rest) + 2}. the law: `{chosen.text}`"]


def data(facts: Facts) -> list[str]:
    """Show where the rows came from."""
    lines = ["## The data", ""]
    card = facts.task.card if facts.task is not None else None
    about = [f"{facts.table.n_rows} rows"]
    if card is not None:
        about = [f"{facts.table.n_rows} rows, each {card.row or 'one run'}"]
        origin = (("origin", card.provenance), ("licence", card.licence), ("held out", card.extrapolation))
        for word, text in origin:
            about += [f"{word}: {text}"] if text else []
    if len(facts.table.groups) > 1:
        about.append(f"{len(facts.table.groups)} groups (`{facts.table.group_column or 'group'}`)")
    about.append(f"sha256 of the rows: `{facts.table.digest()}`")
    lines += [f"- {fact}" for fact in about]
    notes = [*facts.found.notes, *(card.notes if card is not None else ())]
    if notes:
        lines += ["", "Notes:", "", *(f"- {note}" for note in dict.fromkeys(notes))]
    return lines


def reproduce(facts: Facts) -> list[str]:
    """Show the command that repeats the search."""
    config = json.dumps(dict(facts.found.config), indent=2, sort_keys=True, ensure_ascii=False, default=str)
    lines = ["## To reproduce", "", "```bash", _command(facts.found, facts.task), "```", ""]
    lines += ["```json", config, "```", ""]
    lines.append(f"With {_versions()}. A budget in fits repeats bit for bit; one in seconds stops where time is up.")
    return lines


def checklist(facts: Facts) -> list[str]:
    """Show the reproducibility checklist."""
    declared = facts.task.card.paper.get("checklist", {}) if facts.task is not None else {}
    fields = filled(known(facts), declared if isinstance(declared, Mapping) else {})
    n = sum(text != NOT_REPORTED for text in fields.values())
    lines = ["## Checklist", ""]
    lines.append(
        f"{n} of {len(fields)} fields of the reproducibility checklist (Li et al. 2025, arXiv 2502.18969) are "
        "filled. The others can be declared in the card under `[paper.checklist]`: "
        '`"train.optimizer" = "AdamW"`.'
    )
    lines += ["", "| field | |", "|---|---|"]
    return lines + [row(f"`{key}`", text) for key, text in fields.items()]


def known(facts: Facts) -> dict[str, str]:
    """Return the fields of the checklist that are known."""
    return known_fields(
        facts.found, facts.task, facts.diagnoses, scores=facts.scores, covered=facts.covered,
        command=_command(facts.found, facts.task), versions=_versions(),
    )  # fmt: skip


def _command(found: Discovery, task: Task | None) -> str:
    """Return the command that repeats the search."""
    from sld.data.bundled import bundled_tasks, named_tasks

    words = ["sld", "discover"]
    if task is None:
        words.append("TASK")
    elif task.name in bundled_tasks() or (task.path is not None and named_tasks().get(task.name) == task.path):
        words.append(task.name)
    elif task.path is not None:
        words.append(str(task.path))
    else:
        origin = "-" if task.card.provenance == STANDARD_INPUT else task.card.provenance
        words += [origin or "TABLE.csv", *_roles(found.table), *task.options]
    config = found.config
    for option in ("seed", "budget", "workers"):
        if option in config:
            words += [f"--{option}", str(config[option])]
    if config.get("proposers"):
        words += ["--proposers", ",".join(config["proposers"])]
    if "llm" in config:
        words += ["--llm", config["llm"]["model"], "--llm-mode", config["llm"]["mode"]]
        if asked := config["llm"].get("question"):
            words += ["--llm-question", asked]
    for formula in config.get("formulas", ()):
        text = formula if isinstance(formula, str) else "; ".join(f"{t}: {f}" for t, f in formula.items())
        words += ["--try", text]
    words += _planned(found.table.aim)
    return shlex.join(words)


def _planned(aim: Table | None) -> list[str]:
    """Return the options that name the planned runs; many stand in a table whose name nobody knows any more."""
    if aim is None:
        return []
    if aim.n_rows > _WRITTEN_OUT:
        return ["--for", "PLANNED.csv"]
    words = []
    for k, values in enumerate(aim.X.tolist()):
        said = [f"{v.column}={x!r}" for v, x in zip(aim.variables, values, strict=True)]
        said += [] if aim.group_column is None else [f"{aim.group_column}={aim.groups[aim.group_index[k]]}"]
        words += ["--for", ",".join(said)]
    return words


def _roles(table: Table) -> list[str]:
    words = ["--target", ",".join(t.column for t in table.targets)]
    for option, role in (
        ("scale", "scale"),
        ("hyper", "hyperparameter"),
        ("proportion", "proportion"),
        ("covariate", "covariate"),
    ):
        if columns := [v.column for v in table.variables if v.role == role]:
            words += [f"--{option}", ",".join(columns)]
    if table.group_column:
        words += ["--group", table.group_column]
    for v in table.variables:
        words += ["--log", f"{v.column}={v.log}"] if v.log else []
        words += ["--monotone", f"{v.column}={v.monotone}"] if v.monotone else []
    goal = table.targets[0]
    words += ["--lower", exact(goal.lower)] if goal.lower is not None else []
    words += ["--upper", exact(goal.upper)] if goal.upper is not None else []
    return [*words, "--better", "higher"] if goal.better == "higher" else words


def _versions() -> str:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} (not installed)"

    return ", ".join([*(of(p) for p in ("sld", "numpy", "llvmlite")), f"Python {platform.python_version()}"])
