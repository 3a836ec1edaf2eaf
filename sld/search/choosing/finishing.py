"""From what a search remembers to what it hands back: the choice, the consensus, the final fits, the verdict."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sld.core.errors import SldError
from sld.data.table import Array, Table
from sld.fit.fitting import FitResult, fit
from sld.fit.noise import OF_SEARCH, about_noise, active_kinds, row_weights, weights_record
from sld.fit.pooling import lend
from sld.formula.domain import Limits
from sld.formula.expression import Expression
from sld.laws.fit_settings import FitSettings
from sld.laws.law import Law
from sld.laws.ranges import ranges_of
from sld.laws.remarks import with_remarks
from sld.search.candidates.candidate import Candidate, Discovery, Guide
from sld.search.candidates.selection import RULES, fewest_constants, is_exact, noise_floor, rank
from sld.search.choosing.consensus import Consensus
from sld.search.choosing.directions import Directions
from sld.search.choosing.evidence import turn_not_shown
from sld.search.choosing.explanation import Explanation, explanation
from sld.search.choosing.robust import huber_beside, robust_fit
from sld.search.choosing.verdict import verdict
from sld.search.judging.judge import Judge
from sld.search.judging.soundness import Soundness
from sld.search.screening.rows import FIT_ROWS, thinned

if TYPE_CHECKING:
    from sld.search.discovery import Search

_FINAL_STARTS = 12  # for groups that the search has not seen
_STRAIGHTENED = 10  # of the best candidates, where none keeps to the declared directions
_RULE = "one_standard_error"
_EXPLAINED = "shortest_account"  # where a form explains a target down to its noise
_FEWEST = "fewest_constants"  # where points are few


def finish(
    search: Search,
    table: Table,
    everything: Table,
    folds: Sequence[Any],
    seed: int,
    config: Mapping[str, Any],
    notes: list[str],
    budget: str,
) -> Discovery:
    """Return the outcome of a search.

    Args:
        search: What it remembers, after `run`.
        table: The rows that laws are fitted to; the search may have seen fewer.
        everything: The same with the groups that have too few rows to be judged.
        folds: The folds of the search.
        seed: Seed of the final fits.
        config: For the record.
        notes: What was noticed so far; more is added.
        budget: As the user wrote it.

    Raises:
        SldError: No formula could be fitted.
        KeyboardInterrupt: The search was interrupted before it had one.
    """
    with uninterrupted():
        few = search.judge.counting.few
        directions = Directions.of(search.judge.table, search.judge.folds)
        best = _of_few_points(search, directions) if few else _best(search, directions)
        # on few points an account of the table, and what many laws agree on, rest on as many constants as points
        explained = [
            None
            if few
            else explanation(search.judge, _keeping(search.judge, halves.members, j, directions), j, halves.published)
            for j, halves in enumerate(search.halves)
        ]
        best = _with_explained(best, explained)
        rule = _FEWEST if few else _EXPLAINED if any(explained) else _RULE
        if best is None:
            if search.interrupted:
                raise KeyboardInterrupt
            reasons = ", ".join(f"{n} {why}" for why, n in search.counts.items() if why not in ("tried", "judged"))
            way_out = search.judge.counting.missing or "add rows or rungs"
            raise SldError(f"no formula could be fitted: {search.counts['tried']} tried ({reasons}); {way_out}")
        if not best.admissible:
            why = (
                "the law reproduces every fold exactly but"
                if is_exact(best)
                else "no candidate passed every physical check; the best one"
            )
            notes.append(f"{why} fails: " + "; ".join(best.reasons))
        notes.extend(about_noise(table))
        notes.extend(search.source.notes)
        if search.exhausted:
            notes.append("every formula of the search space was tried before the budget was used")
        notes.extend(_about(table, explained))
        # a form that is right gains nothing from what the others say
        agreed = [
            Consensus.of(search.judge, halves, j) if explained[j] is None and not few else None
            for j, halves in enumerate(search.halves)
        ]
        chosen = _distilled(search, best, agreed, directions)
        alone: list[Consensus | None] = [None] * len(table.targets)
        single, trouble = _fit_all(best, table, seed, config, search, budget, alone, rule, directions)
        best = replace(best, constants=single.constants)
        law = single
        if chosen is None:
            chosen = best
            notes.extend(trouble)
        else:
            law, trouble = _fit_all(chosen, table, seed, config, search, budget, agreed, rule, directions)
            chosen = replace(chosen, constants=law.constants)
            notes.extend(trouble)
        if wrong := _wrong_way(law, directions):
            failing = replace(chosen, admissible=False, reasons=tuple(dict.fromkeys((*chosen.reasons, *wrong))))
            best, chosen = failing if chosen is best else best, failing
            notes.append(f"no formula was found that keeps to the declared directions: the law is {'; '.join(wrong)}")
        ranked = search.hall.ranked()[:50]
        extra = {c.key: c for c in (best, chosen) if c.key not in {r.key for r in ranked}}
        judged = verdict(search.judge.table, folds, chosen, ranked, law, seed=seed)
        law = replace(law, provenance={**law.provenance, "verdict": judged.to_json()})
        return Discovery(
            law=with_remarks(_with_borrowed(law, table, everything), everything),
            chosen=chosen,
            front=search.hall.front(),
            hall_of_fame=tuple(rank([*extra.values(), *ranked])),
            folds=tuple(folds),
            counts=dict(search.counts),
            seconds=search.seconds,
            n_fits=search.n_fits,
            interrupted=search.interrupted,
            noise=noise_floor(table, 0),
            notes=tuple(notes),
            table=table,
            verdict=judged,
            config={**config, "budget": budget, "workers": search.workers, "rule": rule},
            single=None if chosen is best else with_remarks(_with_borrowed(single, table, everything), everything),
            best=None if chosen is best else best,
            llm={} if search.asynchronous is None else search.asynchronous.summary(chosen),
            guides={
                t.column: Guide(c.points, c.members, c.weights)
                for t, c, judged in zip(table.targets, agreed, chosen.judgements, strict=True)
                if c is not None and judged.consensus
            },
        )


def _best(search: Search, directions: Directions | None) -> Candidate | None:
    """Return the best form by itself: for each target the one that the rule chooses, or one that suits all as well."""
    rule = RULES[_RULE]
    if len(search.halves) == 1:
        return rule(_keeping(search.judge, search.halves[0].members, 0, directions))
    joint = rule(search.hall.ranked())
    parts = [rule(_keeping(search.judge, halves.members, j, directions)) for j, halves in enumerate(search.halves)]
    if joint is None or any(p is None for p in parts):
        return joint
    composed = Candidate.joined([p for p in parts if p is not None])
    if composed.key == joint.key or (composed.score >= joint.score and joint.admissible):
        return joint
    return composed


def _of_few_points(search: Search, directions: Directions | None) -> Candidate | None:
    """Return the form with the fewest constants that the folds support, for each target by itself."""
    parts = []
    for j, (hall, halves) in enumerate(zip(search.halls, search.halves, strict=True)):
        # finalists were judged again, more thoroughly
        known = {c.key: c for c in (*hall.ranked(), *halves.members)}
        rounding = search.judge.rounding[j]
        keeping = _keeping(search.judge, [*known.values()], j, directions)
        # few points are no evidence that a law turns around
        steady = [c for c in keeping if not turn_not_shown(search.judge, j, c)]
        parts.append(fewest_constants(steady, rounding) or fewest_constants(keeping, rounding))
    return None if any(p is None for p in parts) else Candidate.joined([p for p in parts if p is not None])


def _keeping(
    judge: Judge, members: Sequence[Candidate], target: int, directions: Directions | None
) -> Sequence[Candidate]:
    """Return the candidates of one target that keep to the declared directions; all where none can be made to.

    Where one is exact the table is computed, and it is the declaration that is wrong.
    """
    if directions is None or any(is_exact(c) for c in members):
        return members
    if keeping := [c for c in members if directions.keeps(c, target)]:
        return keeping
    straight = []
    for c in rank(members)[:_STRAIGHTENED]:
        (expression,) = c.expressions.values()
        bounds = judge.soundness.bounds(expression) | judge.soundness.floor(expression, target)
        straight.append(directions.straightened(c, target, judge.weights[target], bounds))
    return [c for c in straight if c is not None] or members


def _wrong_way(law: Law, directions: Directions | None) -> list[str]:
    """Return where a law goes against the declared directions, a sentence for each target that does."""
    if directions is None:
        return []
    found = (
        directions.broken(law.expressions[t.column], law.constants[t.column], j) for j, t in enumerate(law.targets)
    )
    return [sentence for sentence in found if sentence is not None]


def _with_explained(best: Candidate | None, explained: Sequence[Explanation | None]) -> Candidate | None:
    """Return the best form with the explanation of each target that has one in its place."""
    if best is None or not any(explained):
        return best
    return Candidate.joined([best.of_target(j) if e is None else e.candidate for j, e in enumerate(explained)])


def _about(table: Table, explained: Sequence[Explanation | None]) -> list[str]:
    """Return a note for each target whose form explains the rows down to their noise."""
    several = len(table.targets) > 1
    return [
        (f"{t.column}: " if several else "") + e.sentence
        for t, e in zip(table.targets, explained, strict=True)
        if e is not None
    ]


def _distilled(
    search: Search, best: Candidate, agreed: Sequence[Consensus | None], directions: Directions | None
) -> Candidate | None:
    """Return the formulas that follow the consensus, target by target; None where every target keeps its best form."""
    parts = []
    for j, consensus in enumerate(agreed):
        own = best.of_target(j)
        distilled = None if consensus is None else consensus.distilled(search.judge, j, directions)
        follows = distilled is not None and (distilled.admissible or not own.admissible)
        if follows and distilled is not None and directions is not None:
            follows = directions.keeps(distilled, j) or not directions.keeps(own, j)
        parts.append(distilled if distilled is not None and follows else own)
    return Candidate.joined(parts) if any(p.consensus for p in parts) else None


def _fit_all(
    chosen: Candidate,
    table: Table,
    seed: int,
    config: Mapping[str, Any],
    search: Search,
    budget: str,
    agreed: Sequence[Consensus | None],
    rule: str,
    directions: Directions | None,
) -> tuple[Law, list[str]]:
    """Fit the chosen forms on all rows and the points of a consensus, from many starts and what the search found."""
    rows = thinned(table, FIT_ROWS)
    notes = []
    robust: dict[str, str] = {}
    judge = search.judge
    soundness = judge.soundness if rows.groups == judge.table.groups else Soundness(rows)
    if rows is not table:
        notes.append(f"the final fit used {rows.n_rows} of {table.n_rows} rows, spread over all groups and rungs")
    constants: dict[str, Mapping[str, Mapping[str, float]]] = {}
    settings: dict[str, FitSettings] = {}
    for j, target in enumerate(table.targets):
        expression = chosen.expressions[target.column]
        consensus = agreed[j] if chosen.judgements[j].consensus else None
        own_weights = row_weights(rows, j)
        fitted, weights, number = rows, own_weights, j
        if consensus is not None:
            (fitted, weights), number = consensus.joined(rows, j, own_weights), 0
        shared = chosen.shared.get(target.column, ())
        partial = target.column in chosen.priors
        # the shapes of groups are pulled together, levels follow their rows
        bounds = soundness.bounds(expression) | ({} if partial else soundness.floor(expression, j))
        result: FitResult = fit(
            expression,
            fitted,
            target=number,
            weights=weights,
            # the optimum that was judged on the folds, not a lower one elsewhere that nobody looked at
            starts=0 if set(rows.groups) <= set(chosen.constants[target.column]) else _FINAL_STARTS,
            seed=seed,
            inherit=_with_absent(chosen.constants[target.column], rows.groups),
            shared=shared,
            pooling="partial" if partial else "none",
            bounds=bounds,
        )
        if result.ok:
            own = result
            if consensus is not None:
                own = fit(
                    expression, rows, target=j, starts=0, seed=seed, inherit=result.constants, shared=shared,
                    bounds=bounds, weights=own_weights,
                )  # fmt: skip
            other = None
            if own.ok:
                other = robust_fit(
                    expression, judge.table, judge.folds, own, rows, target=j, seed=seed, shared=shared, bounds=bounds
                )
            if other is not None and consensus is not None:
                other = huber_beside(expression, fitted, rows, j, weights, result, shared, bounds), other[1]
            if other is not None and _refused(soundness, expression, j, other[0].constants):
                other = None
            if other is not None and _as_sound(judge, chosen, expression, j, other[0].constants):
                result, robust[target.column] = other
        bent, bounded = "", False
        if result.ok and directions is not None and not is_exact(chosen):
            bent = directions.broken(expression, result.constants, j) or ""
            straight = _straight_fit(result, expression, fitted, number, weights, shared, bounds) if bent else None
            if straight is not None and directions.broken(expression, straight.constants, j) is None:
                result, bent, bounded = straight, "", True
                robust.pop(target.column, None)
        trouble = result.status if not result.ok else ""
        if result.ok and not _as_sound(search.judge, chosen, expression, j, result.constants):
            # a lower training error is no gain if the law then breaks down beyond the data
            trouble = "it breaks a physical check that the search's constants pass"
        if result.ok and (why := _refused(soundness, expression, j, result.constants)):
            trouble = f"it is no law: {why}"
        if bent and not trouble and directions is not None and directions.keeps(chosen.of_target(j), j):
            trouble = f"it is {bent}, and the search's constants are not"
        constants[target.column] = result.constants
        prior = chosen.priors.get(target.column) if trouble else result.prior
        if trouble:
            robust.pop(target.column, None)
            # the search may have seen a part of the groups only
            constants[target.column] = _with_absent(chosen.constants[target.column], rows.groups)
            notes.append(f"the final fit of {target.column} was not used ({trouble}); constants are the search's")
            if absent := len(rows.groups) - len(chosen.constants[target.column]):
                notes.append(f"{absent} groups that the search left out have the median of the others' constants")
        huber = target.column in robust
        settings[target.column] = FitSettings(
            loss="huber" if huber else "squared",
            weights=active_kinds(rows, j, OF_SEARCH),
            pooling="none" if prior is None else "partial",
            shared=tuple(shared),
            positive=tuple(expression.constants) if bounded and not trouble else (),
            bounds=dict(bounds),
            prior=prior,
            points=0 if consensus is None else consensus.points.n_rows,
        )
    notes.extend(robust.values())
    # nothing that depends on time or on the number of workers: the same search writes the same law.json
    provenance: dict[str, Any] = {
        "origin": chosen.origin,
        "seed": seed,
        "proposers": list(config["proposers"]),
        "rows": config["rows"],
        "score": chosen.score,
        "fold_errors": [e if np.isfinite(e) else None for e in chosen.fold_errors],
        "rule": rule,
        "budget": budget,
        "tool": f"sld {_version()}",
        **ranges_of(table),
    }
    if config.get("left_out"):
        provenance["left_out"] = list(config["left_out"])
    if chosen.consensus:
        provenance["consensus"] = {
            t.column: [m.text for m in c.members]
            for t, c, j in zip(table.targets, agreed, chosen.judgements, strict=True)
            if c is not None and j.consensus
        }
    if record := weights_record(rows, OF_SEARCH):
        provenance["weights"] = record
    if chosen.lineage:
        provenance["lineage"] = list(chosen.lineage)
    if "llm" in config:
        provenance["llm"] = dict(config["llm"])
    if search.budget.fits is not None:
        provenance["n_fits"] = search.n_fits
    law = Law(
        expressions=chosen.expressions,
        constants=constants,
        variables=table.variables,
        targets=table.targets,
        group_column=table.group_column,
        task=dict(config["task"]),
        provenance=provenance,
        settings=settings,
    )
    return law, notes


def _straight_fit(
    result: FitResult,
    expression: Expression,
    rows: Table,
    number: int,
    weights: Array | None,
    shared: Sequence[str],
    bounds: Mapping[str, Limits],
) -> FitResult | None:
    """Return the fit with all constants positive: with these a sum of powers keeps to one direction."""
    inherit = {g: {c: abs(v) for c, v in by.items()} for g, by in result.constants.items()}
    found = fit(
        expression, rows, target=number, weights=weights, starts=_FINAL_STARTS, inherit=inherit, shared=shared,
        positive=expression.constants, bounds=bounds,
    )  # fmt: skip
    return found if found.ok else None


def _with_absent(
    constants: Mapping[str, Mapping[str, float]], groups: Sequence[str]
) -> Mapping[str, Mapping[str, float]]:
    """Return constants for all groups: those that the search left out get the median of the others."""
    if len(constants) == len(groups):
        return constants
    middle = {c: float(np.median([of[c] for of in constants.values()])) for c in next(iter(constants.values()), {})}
    return {g: constants.get(g, middle) for g in groups}


def _with_borrowed(law: Law, table: Table, everything: Table) -> Law:
    """Return the law with constants for the groups that have too few rows, behind the others."""
    few = [k for k, g in enumerate(everything.groups) if g not in table.groups]
    if not few:
        return law
    rows = everything.take(np.isin(everything.group_index, few))
    constants, soundness = {}, Soundness(everything)
    for j, target in enumerate(law.targets):
        own, expression = law.constants[target.column], law.expressions[target.column]
        lent = lend(expression, table, j, own, rows, soundness.bounds(expression))
        for group, of in lent.items():
            if soundness.refusal(expression, [of] * len(everything.groups), j):
                lent[group] = dict(_with_absent(own, [group, *own])[group])  # what is usual among the others
        constants[target.column] = {**own, **lent}
    provenance = {**law.provenance, "borrowed": list(rows.groups)}
    return replace(law, constants=constants, provenance=provenance)


def _as_sound(
    judge: Judge,
    chosen: Candidate,
    expression: Expression,
    target: int,
    constants: Mapping[str, Mapping[str, float]],
) -> bool:
    """Return whether constants pass every physical check that the search's constants pass."""
    by_group = [constants[g] for g in judge.table.groups]
    problems = judge.grid.problems(target, judge.grid.predict(expression, by_group))
    within = chosen.judgements[target].within_bounds
    return not (chosen.admissible and any(p.hard or (p.slight and within) for p in problems))


def _refused(
    soundness: Soundness, expression: Expression, target: int, constants: Mapping[str, Mapping[str, float]]
) -> str:
    return soundness.refusal(expression, [constants[g] for g in soundness.table.groups], target)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sld")
    except PackageNotFoundError:
        return "(not installed)"


class uninterrupted:
    """Hold Ctrl-C back while the best law is fitted, gets its intervals and is written, which takes seconds."""

    def __enter__(self) -> None:
        """Begin; only the main thread gets Ctrl-C."""
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:
            self.before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __exit__(self, *exc: object) -> None:
        """Give Ctrl-C back."""
        if self.main:
            signal.signal(signal.SIGINT, self.before)
