"""How `sld discover` looks: its progress, its law and what was tried; and the first prompt of a dry run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sld.cli.output import ProgressLine, duration, say, say_json, say_table, shown
from sld.cli.show.law import held_out_line, law_text, next_steps, spans
from sld.core.numbers import short

if TYPE_CHECKING:
    from sld.api import Searched
    from sld.data.scoring import Scores
    from sld.search.loop import Progress
    from sld.search.outcome import Discovery

_MAX_RUNNERS_UP = 3


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


def discovery(
    found: Discovery, held_out: Scores | None, folder: Path, source: str, json: bool, *, by_formula: Scores | None
) -> None:
    """Show `sld discover`; `by_formula` are the scores of the formula alone, where predictions are more than that."""
    files = _files(folder)
    if json:
        alone = {} if by_formula is None else {"held_out_by_formula": by_formula.to_json()}
        say_json(_discovery_json(found, held_out, folder, files) | alone)
        return
    if found.interrupted:
        say(f"interrupted after {duration(found.seconds)}: this is the best law so far; the same command goes on")
        print()
    if found.verdict.kind != "law":
        say(found.verdict.sentence)
        print()
    law_text(found.law)
    if found.best is not None:
        many = found.chosen.consensus
        say(f"chosen: it is closest to what the {many} best laws predict together; the best one alone (single.json):")
        say(f"  {found.best.text} (error {shown(_typical(found.best.fold_errors), 3)})")
    _how_far(found, held_out, by_formula)
    _what_was_tried(found)
    if found.llm:
        _language_model(found)
    print()
    say(f"written to {folder}/: {', '.join(files)}")
    next_steps(folder, source, held_out is not None)


def discoveries(searches: Sequence[tuple[str, Searched, Scores | None]], json: bool) -> None:
    """Show what became of several searches; those that failed are among them in JSON alone."""
    if json:
        say_json(
            {
                "searches": [
                    {"source": source, "failed": one.failed}
                    if one.found is None
                    else {"source": source, **_discovery_json(one.found, held_out, one.folder, _files(one.folder))}
                    for source, one, held_out in searches
                ]
            }
        )
        return
    rows = [
        [one.task.name, one.found.verdict.kind, one.found.law.expressions[t.column].text, str(one.folder)]
        for _, one, _ in searches
        if one.found is not None
        for t in one.found.law.targets
    ]
    say_table(rows, ("table", "verdict", "formula", "written to"), indent="")


def benchmark(suite: str, searches: Sequence[tuple[Searched, Scores | None]], json: bool) -> None:
    """Show `sld bench`: the score of each task on its held-out rows, and the mean of R², each at least -1."""
    # a search that failed has no law, and a law that cannot be evaluated has -1: neither may be better for it
    counted = [
        -1.0 if scores is None else max(scores.r2, -1.0)
        for one, scores in searches
        if scores is not None or one.found is None
    ]
    mean = sum(counted) / len(counted) if counted else None
    if json:
        rows = [
            {
                "task": one.task.name,
                "scores": None if scores is None else scores.to_json(),
                **({"failed": one.failed} if one.found is None else {"verdict": one.found.verdict.kind}),
                "formulas": {} if one.found is None else {t: e.text for t, e in one.found.law.expressions.items()},
                "run_dir": str(one.folder),
            }
            for one, scores in searches
        ]
        say_json({"suite": suite, "tasks": rows, "mean_r2": mean, "n_scored": len(counted)})
        return
    shown_rows = [
        [
            one.task.name,
            "-" if scores is None else shown(scores.r2),
            "failed" if one.found is None else one.found.verdict.kind,
            "" if one.found is None else one.found.law.text(),
        ]
        for one, scores in searches
    ]
    say_table(shown_rows, ("task", "R² on held-out rows", "verdict", "law"), indent="")
    if mean is not None:
        say(f"mean R² over {_of(len(counted), 'task')}: {shown(mean)} (each counts at least -1)")
    if left := len(searches) - len(counted):
        say(f"{_of(left, 'task')} without held-out rows: not scored")


def _files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.is_file() and not file.name.endswith(".lock"))


def _how_far(found: Discovery, held_out: Scores | None, by_formula: Scores | None) -> None:
    """Print the errors on unseen rows, and what is to be said against the law."""
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
        say(f"noise floor, from repeated runs: {short(100 * sd, 2)} % of the target, error {shown(nmse, 3)}")
    held_out_line(held_out, found.law.grouped, by_formula)
    if found.verdict.kind == "law":
        say(f"verdict: {found.verdict.sentence}")
        if found.verdict.downwards:
            say(found.verdict.downwards)
    if not found.chosen.admissible:
        say(f"beware: {'; '.join(found.chosen.reasons)}")
    for text in found.notes:
        say(f"note: {text}")


def _what_was_tried(found: Discovery) -> None:
    print()
    tried = found.counts.get("tried", 0)
    say(f"{tried} formulas tried in {duration(found.seconds)} ({found.n_fits} fits); simpler ones of the front:")
    simpler = [c for c in found.front if c.complexity < found.chosen.complexity][-_MAX_RUNNERS_UP:]
    for candidate in reversed(simpler):
        say(f"  {candidate.text} (error {shown(_typical(candidate.fold_errors), 3)})")
    if not simpler:
        say("  none")


def _discovery_json(found: Discovery, held_out: Scores | None, folder: Path, files: Sequence[str]) -> dict[str, Any]:
    return {
        "law": found.law.to_json(),
        "constant_intervals": spans(found.law),
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
