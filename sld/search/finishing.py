"""From what a search remembers to what it hands back: the choice, the consensus, the final fits, the verdict."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sld.core.errors import SldError
from sld.core.version import __version__
from sld.data.table import Table
from sld.fit.noise import OF_SEARCH, about_noise, weights_record
from sld.fit.pooling import fit_small_groups
from sld.laws.law import Law
from sld.laws.ranges import ranges_of
from sld.laws.remarks import about_prediction, with_remarks
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.selection import RULES, fewest_constants, is_exact, noise_floor, rank
from sld.search.choosing.consensus import Consensus
from sld.search.choosing.directions import Directions
from sld.search.choosing.ensembles import Electorate, ensemble
from sld.search.choosing.evidence import turn_not_shown
from sld.search.choosing.explanation import Explanation, explanation
from sld.search.choosing.final_fit import FinalFitter, with_absent
from sld.search.choosing.verdict import verdict
from sld.search.judging.context import JudgingContext
from sld.search.judging.soundness import Soundness
from sld.search.loop import SearchResult
from sld.search.outcome import Discovery

_STRAIGHTENED = 10  # of the best candidates, where none keeps to the declared directions: each takes a fit
_RANKED = 50  # candidates that are handed back: more than anybody reads, enough to tell what rivals there are
_RULE = "one_standard_error"  # the usual one; see `selection.RULES`
_EXPLAINED = "shortest_account"  # where a form explains a target down to its noise
_FEWEST = "fewest_constants"  # where points are few


def finish(
    searched: SearchResult, table: Table, everything: Table, config: Mapping[str, Any], notes: Sequence[str]
) -> Discovery:
    """Return the outcome of a search.

    Args:
        searched: What the loop left.
        table: The rows that laws are fitted to; the search may have seen fewer.
        everything: The same with the groups that have too few rows to be judged.
        config: What was asked, with the budget as the user wrote it; for the record, and for the seed.
        notes: What was noticed so far.

    Raises:
        SldError: No formula could be fitted.
        KeyboardInterrupt: The search was interrupted before it had one.
    """
    context, seed = searched.context, config["seed"]
    directions = Directions.of(context.table, context.folds, table)
    choice = _choice(searched, directions)
    notes = [*notes, *_about_search(searched, choice, table)]
    fitter = FinalFitter(context, table, seed, directions)
    record = _Record(searched, table, config, choice.rule)
    # the best form by itself is fitted too: it is handed out beside one that follows a consensus
    best, single, trouble = _fitted(fitter, record, choice.best, [None] * len(table.targets))
    chosen, law = best, single
    if choice.distilled is not None:
        chosen, law, trouble = _fitted(fitter, record, choice.distilled, choice.agreed)
    notes += trouble
    if directions is not None and any(wrong := _wrong_ways(law, directions)):
        failing = _with_failures(chosen, wrong)
        best, chosen = failing if chosen is best else best, failing
        said = "; ".join(w for w in wrong if w is not None)
        notes.append(f"no formula was found that keeps to the declared directions: the law is {said}")
    hall = searched.population.everything.together
    ranked = hall.ranked()[:_RANKED]
    extra = {c.key: c for c in (best, chosen) if c.key not in {r.key for r in ranked}}
    judged = verdict(context.table, context.folds, chosen, ranked, law, seed=seed)
    law = replace(law, provenance={**law.provenance, "verdict": judged.to_json()})
    alone = chosen is best
    voting = _electorates(searched, choice, chosen, directions)
    law = _predicting(context, chosen, _with_borrowed(law, table, everything), everything, voting)
    if directions is not None:
        corrected = [column for column, e in law.ensembles.items() if e.kriging is not None]
        notes += directions.remarks(law.expressions, corrected)
    notes += [said] if (said := about_prediction(law)) else []
    return Discovery(
        law=with_remarks(law, everything),
        chosen=chosen,
        front=hall.front(),
        hall_of_fame=tuple(rank([*extra.values(), *ranked])),
        folds=context.folds,
        counts=dict(searched.population.counts),
        seconds=searched.seconds,
        n_fits=searched.population.n_fits,
        interrupted=searched.interrupted,
        noise=noise_floor(table, 0),
        notes=tuple(notes),
        table=table,
        verdict=judged,
        config={**config, "workers": searched.workers, "rule": choice.rule},
        single=None if alone else with_remarks(_with_borrowed(single, table, everything), everything),
        best=None if alone else best,
    )


# --- the choice -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Choice:
    """What a search comes to, before the last fit.

    Attributes:
        best: The best form by itself.
        rule: How it was chosen.
        explained: For each target the form that explains it down to its noise, if there is one.
        agreed: For each target what many laws predict together; None where nobody is asked.
        distilled: The formulas that follow that; None where every target keeps its best form.
    """

    best: Candidate
    rule: str
    explained: Sequence[Explanation | None]
    agreed: Sequence[Consensus | None]
    distilled: Candidate | None


def _choice(searched: SearchResult, directions: Directions | None) -> _Choice:
    """Return what is chosen, and by which rule.

    Raises:
        SldError: No formula could be fitted.
        KeyboardInterrupt: The search was interrupted before it had one.
    """
    context, finalists = searched.context, searched.finalists
    few = context.counting.few
    best = _of_few_points(searched, directions) if few else _best(searched, directions)
    # on few points an account of the table, and what many laws agree on, rest on as many constants as points
    explained = [
        None if few else explanation(context, _keeping(context, f.members, j, directions), j, f.published)
        for j, f in enumerate(finalists)
    ]
    best = _with_explained(best, explained)
    if best is None:
        if searched.interrupted:
            raise KeyboardInterrupt
        counts = searched.population.counts
        reasons = ", ".join(f"{n} {why}" for why, n in counts.items() if why not in ("tried", "judged"))
        way_out = context.counting.missing or "add rows or rungs"
        raise SldError(f"no formula could be fitted: {counts['tried']} tried ({reasons}); {way_out}")
    # a form that is right gains nothing from what the others say
    agreed = [
        Consensus.of(context, f, j) if explained[j] is None and not few else None for j, f in enumerate(finalists)
    ]
    rule = _FEWEST if few else _EXPLAINED if any(explained) else _RULE
    return _Choice(best, rule, explained, agreed, _distilled(context, best, agreed, directions))


def _about_search(searched: SearchResult, choice: _Choice, table: Table) -> list[str]:
    """Return what the user should know of the search and of the choice."""
    notes = []
    if not choice.best.admissible:
        why = (
            "the law reproduces every fold exactly but"
            if is_exact(choice.best)
            else "no candidate passed every physical check; the best one"
        )
        notes.append(f"{why} fails: " + "; ".join(choice.best.reasons))
    notes += [*about_noise(table), *searched.notes]
    if searched.exhausted:
        notes.append("every formula of the search space was tried before the budget was used")
    return [*notes, *_about_explained(table, choice.explained)]


def _best(searched: SearchResult, directions: Directions | None) -> Candidate | None:
    """Return the best form by itself: for each target the one that the rule chooses, or one that suits all as well."""
    rule = RULES[_RULE]
    context, finalists = searched.context, searched.finalists
    if len(finalists) == 1:
        return rule(_keeping(context, finalists[0].members, 0, directions))
    joint = rule(searched.population.everything.together.ranked())
    parts = [rule(_keeping(context, f.members, j, directions)) for j, f in enumerate(finalists)]
    if joint is None or any(p is None for p in parts):
        return joint
    composed = Candidate.joined([p for p in parts if p is not None])
    if composed.key == joint.key or (composed.score >= joint.score and joint.admissible):
        return joint
    return composed


def _of_few_points(searched: SearchResult, directions: Directions | None) -> Candidate | None:
    """Return the form with the fewest constants that the folds support, for each target by itself."""
    context, parts = searched.context, []
    for j, (hall, finalists) in enumerate(
        zip(searched.population.everything.by_target, searched.finalists, strict=True)
    ):
        # finalists were judged again, more thoroughly
        known = {c.key: c for c in (*hall.ranked(), *finalists.members)}
        rounding = context.rounding[j]
        keeping = _keeping(context, [*known.values()], j, directions)
        # few points are no evidence that a law turns around
        steady = [c for c in keeping if not turn_not_shown(context, j, c)]
        parts.append(fewest_constants(steady, rounding) or fewest_constants(keeping, rounding))
    return None if any(p is None for p in parts) else Candidate.joined([p for p in parts if p is not None])


def _keeping(
    context: JudgingContext, members: Sequence[Candidate], target: int, directions: Directions | None
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
        bounds = context.soundness.bounds(expression) | context.soundness.floor(expression, target)
        straight.append(directions.straightened(c, target, context.weights[target], bounds))
    return [c for c in straight if c is not None] or members


def _with_explained(best: Candidate | None, explained: Sequence[Explanation | None]) -> Candidate | None:
    """Return the best form with the explanation of each target that has one in its place."""
    if best is None or not any(explained):
        return best
    return Candidate.joined([best.of_target(j) if e is None else e.candidate for j, e in enumerate(explained)])


def _about_explained(table: Table, explained: Sequence[Explanation | None]) -> list[str]:
    """Return a note for each target whose form explains the rows down to their noise."""
    several = len(table.targets) > 1
    return [
        (f"{t.column}: " if several else "") + e.sentence
        for t, e in zip(table.targets, explained, strict=True)
        if e is not None
    ]


def _distilled(
    context: JudgingContext, best: Candidate, agreed: Sequence[Consensus | None], directions: Directions | None
) -> Candidate | None:
    """Return the formulas that follow the consensus, target by target; None where every target keeps its best form."""
    parts = []
    for j, consensus in enumerate(agreed):
        own = best.of_target(j)
        distilled = None if consensus is None else consensus.distilled(context, j, directions)
        follows = distilled is not None and (distilled.admissible or not own.admissible)
        if follows and distilled is not None and directions is not None:
            follows = directions.keeps(distilled, j) or not directions.keeps(own, j)
        parts.append(distilled if distilled is not None and follows else own)
    return Candidate.joined(parts) if any(p.consensus for p in parts) else None


# --- the law --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Record:
    """What a law's provenance says of the search."""

    searched: SearchResult
    table: Table
    config: Mapping[str, Any]
    rule: str

    def of(self, chosen: Candidate, agreed: Sequence[Consensus | None], rows: Table) -> dict[str, Any]:
        """Return the provenance of a law with the form of `chosen`, fitted to `rows`.

        Nothing in it depends on time or on the number of workers: the same search writes the same law.json.
        """
        config = self.config
        provenance: dict[str, Any] = {
            "origin": chosen.origin,
            "seed": config["seed"],
            "proposers": list(config["proposers"]),
            "rows": config["rows"],
            "score": chosen.score,
            "fold_errors": [e if np.isfinite(e) else None for e in chosen.fold_errors],
            "rule": self.rule,
            "budget": config["budget"],
            "tool": f"sld {__version__}",
            **ranges_of(self.table),
        }
        if config.get("left_out"):
            provenance["left_out"] = list(config["left_out"])
        if config.get("aim"):
            provenance["aim"] = dict(config["aim"])
        if chosen.consensus:
            provenance["consensus"] = {
                t.column: [m.text for m in c.members]
                for t, c, j in zip(self.table.targets, agreed, chosen.judgements, strict=True)
                if c is not None and j.consensus
            }
        if record := weights_record(rows, OF_SEARCH):
            provenance["weights"] = record
        if chosen.lineage:
            provenance["lineage"] = list(chosen.lineage)
        if "llm" in config:
            provenance["llm"] = dict(config["llm"])
        if self.searched.budget.fits is not None:
            provenance["n_fits"] = self.searched.population.n_fits
        return provenance


def _fitted(
    fitter: FinalFitter, record: _Record, chosen: Candidate, agreed: Sequence[Consensus | None]
) -> tuple[Candidate, Law, tuple[str, ...]]:
    """Return a chosen form with the constants of its last fit, the law that it makes, and what is to be said of it."""
    final = fitter.fit(chosen, agreed)
    table = record.table
    law = Law(
        expressions=chosen.expressions,
        constants=final.constants,
        variables=table.variables,
        targets=table.targets,
        group_column=table.group_column,
        task=dict(record.config["task"]),
        provenance=record.of(chosen, agreed, fitter.rows),
        settings=final.settings,
    )
    return replace(chosen, constants=law.constants), law, final.notes


def _electorates(
    searched: SearchResult, choice: _Choice, chosen: Candidate, directions: Directions | None
) -> list[Electorate]:
    """Return for each target who may predict beside the formula."""
    found = []
    for j, (finalists, agreed) in enumerate(zip(searched.finalists, choice.agreed, strict=True)):
        published: tuple[Candidate, ...] = ()
        if agreed is not None and agreed.known and chosen.judgements[j].consensus:
            published = agreed.members
        asked = None if searched.context.counting.few else finalists
        found.append(Electorate(asked, searched.early[j] if searched.early else None, published, directions))
    return found


def _predicting(context: JudgingContext, chosen: Candidate, law: Law, rows: Table, voting: Sequence[Electorate]) -> Law:
    """Return the law with what predicts beside its formulas, where the folds are for it."""
    found = {}
    for j, (target, who) in enumerate(zip(law.targets, voting, strict=True)):
        told = ensemble(context, who, j, chosen.of_target(j), law, rows)
        if told is not None:
            found[target.column] = told
    return replace(law, ensembles=found)


def _wrong_ways(law: Law, directions: Directions) -> list[str | None]:
    """Return for each target where a law goes against its declared directions, None where it keeps to them."""
    return [directions.broken(law.expressions[t.column], law.constants[t.column], j) for j, t in enumerate(law.targets)]


def _with_failures(chosen: Candidate, wrong: Sequence[str | None]) -> Candidate:
    """Return a candidate that fails, with the sentences on what is wrong with its targets."""
    judgements = tuple(
        judged if said is None else replace(judged, admissible=False, reasons=(*judged.reasons, said))
        for judged, said in zip(chosen.judgements, wrong, strict=True)
    )
    return replace(chosen, judgements=judgements)


def _with_borrowed(law: Law, table: Table, everything: Table) -> Law:
    """Return the law with constants for the groups that have too few rows, behind the others."""
    few = [k for k, g in enumerate(everything.groups) if g not in table.groups]
    if not few:
        return law
    rows = everything.take(np.isin(everything.group_index, few))
    constants, soundness = {}, Soundness(everything)
    for j, target in enumerate(law.targets):
        own, expression = law.constants[target.column], law.expressions[target.column]
        fitted = fit_small_groups(expression, table, j, own, rows, soundness.bounds(expression))
        for group, of in fitted.items():
            if soundness.refusal(expression, [of] * len(everything.groups), j):
                fitted[group] = dict(with_absent(own, [group, *own])[group])  # what is usual among the others
        constants[target.column] = {**own, **fitted}
    provenance = {**law.provenance, "borrowed": list(rows.groups)}
    return replace(law, constants=constants, provenance=provenance)


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
