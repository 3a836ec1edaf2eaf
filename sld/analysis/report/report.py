"""report.md: one discovery for a reader who was not there, plain words first, then everything a check needs."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sld.analysis import effects
from sld.analysis.diagnosis import diagnose
from sld.analysis.intervals import Interval, constant_intervals, predict_intervals, unknown_constants
from sld.analysis.plot import PLOT_FILE
from sld.analysis.report.checklist import NOT_REPORTED, filled, known_fields
from sld.analysis.sections import short
from sld.core.errors import SldError
from sld.core.files import write_text_atomic
from sld.data.reading import STANDARD_INPUT
from sld.data.scoring import Scores, scores
from sld.data.table import Table
from sld.formula.render import to_latex
from sld.laws.law import Law
from sld.laws.remarks import about_limit
from sld.search.choosing.verdict import LEVEL

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.search.candidates.candidate import Candidate
    from sld.search.outcome import Discovery

REPORT_FILE = "report.md"
RUNNERS_UP = 5
_MOST_TARGETS = 6
_MOST_GROUPS = 12  # listed one by one
_SHOWN_FRONT = 15
_SHOWN_MEMBERS = 8
_NONE = "-"


def write_report(
    discovery: Discovery, path: str | Path, *, task: Task | None = None, held_out: Table | None = None
) -> None:
    """Write what a discovery found, as Markdown; the same discovery gives the same text but for the line on seconds.

    Args:
        discovery: The outcome of a search; its law should carry intervals.
        path: The file to write; a `plot.png` beside it is shown.
        task: Where the rows came from: its card fills the checklist.
        held_out: Rows that the search never saw, to score the law on.

    Raises:
        UsageError: The file cannot be written.
    """
    plot = Path(path).with_name(PLOT_FILE)
    write_text_atomic(path, report(discovery, task=task, held_out=held_out, plot=plot.name if plot.exists() else None))


def report(
    discovery: Discovery, *, task: Task | None = None, held_out: Table | None = None, plot: str | None = None
) -> str:
    """Return the text of the report."""
    return _Report(discovery, task, held_out).text(plot)


class _Report:
    def __init__(self, found: Discovery, task: Task | None, held_out: Table | None) -> None:
        self.found, self.task, self.law, self.table = found, task, found.law, found.table
        self.targets = self.law.targets[:_MOST_TARGETS]
        self.rivals = _rivals(found)
        self.held = held_out
        self.scores, self.covered = _judge(self.law, held_out)
        self.diagnoses = [diagnose(found, j) for j in range(len(self.targets))]
        self.intervals = constant_intervals(self.law) if self.law.intervals is not None else {}
        self.unknown = unknown_constants(self.law) if self.law.intervals is not None else {}
        self.level = 100 * float(self.law.intervals["level"]) if self.law.intervals is not None else 0.0
        self.reach = effects.beyond([self.law, *(law for law, _ in self.rivals)], self.table)

    def text(self, plot: str | None) -> str:
        title = f"# Scaling law of {_listed(f'`{t.column}`' for t in self.law.targets)}"
        if self.task is not None:
            title += f" in `{self.task.name}`"
        parts = [
            [title],
            self.summary(),
            [f"![measured against predicted values, and the law's curves past the data]({plot})"] if plot else [],
            self.formulas(),
            self.constants(),
            self.consensus(),
            self.believed(),
            self.extrapolation(),
            self.beyond(),
            self.checks(),
            self.firmness(),
            self.search(),
            self.model(),
            self.data(),
            self.reproduce(),
            self.checklist(),
        ]
        return "\n\n".join("\n".join(part) for part in parts if part) + "\n"

    # --- plain words

    def summary(self) -> list[str]:
        n = self.found.chosen.n_constants
        groups = f" in each of {len(self.law.groups)} groups" if len(self.law.groups) > 1 else ""
        judged = self.found.verdict
        # what must not be missed comes before the formula
        lines = [f"> {self.claim()}", ""] if judged.kind == "law" else [f"**{_capital(judged.sentence)}.**", ""]
        if judged.kind == "weak":
            lines += [f"> {self.claim()}", ""]
        lines.append(f"The formula has {n} constant{'s' * (n != 1)}{groups}, fitted to {self.table.n_rows} rows.")
        x, group, run = effects.reference_run(self.law, self.table)
        where = f"group `{group}`, " if len(self.law.groups) > 1 else ""
        for j, target in enumerate(self.targets):
            said = effects.sentences(self.law, self.table, j)
            if said:
                name = f" for `{target.column}`" if len(self.law.targets) > 1 else ""
                lines += ["", f"At {run} ({where}{effects.describe(self.table, x)}){name}:", ""]
                lines += [f"- {sentence}" for sentence in said]
        if self.found.interrupted:
            lines += ["", "**The search was interrupted before its budget was used; this is the best law until then.**"]
        return lines

    def claim(self) -> str:
        claim = f"`{self.found.chosen.text}`"
        error = _typical(self.found.chosen.fold_errors)
        if math.isfinite(error):
            runs = "larger runs than" if any(v.role == "scale" for v in self.table.variables) else "runs beyond those"
            claim += f" predicts {runs} it was fitted to with a typical error of {_percent(math.sqrt(error))}"
            claim += " of the standard deviation of the data"
        if self.scores is not None:
            claim += f"; on {self.scores.n_rows} held-out rows R² = {_r2(self.scores)}"
        return claim + "."

    # --- the law

    def formulas(self) -> list[str]:
        lines = ["## The law", ""]
        expressions = {t.column: self.law.expressions[t.column] for t in self.law.targets}
        if len({e.text for e in expressions.values()}) == 1:
            expressions = dict(list(expressions.items())[:1])
        single = len(self.law.groups) == 1 and len(self.law.targets) == 1
        for column, expression in expressions.items():
            name = column if len(expressions) > 1 or len(self.law.targets) == 1 else "each target"
            lines += ["```", f"{name} = {expression.text}", "```", ""]
            lines += ["$$", f"{_latex_name(name)} = {to_latex(expression)}", "$$", ""]
            if single:
                values = self.law.constants[column][self.law.groups[0]]
                filled_in = self.law.text(column)
                lines += ["With its constants:", "", "```", f"{column} = {filled_in}", "```", ""]
                places = self.law.digits(column, 4)
                lines += ["$$", f"{_latex_name(column)} = {to_latex(expression, values, digits=places)}", "$$", ""]
        for target, settings in self.law.settings.items():
            if settings.shared:
                lines += [f"All groups share {_listed(f'`{c}`' for c in settings.shared)} (`{target}`).", ""]
            if settings.prior is not None:
                names = _listed(f"`{c}`" for c in settings.prior.constants)
                lines += [f"Groups are pulled together by as much as the rows say, in {names} (`{target}`).", ""]
        if borrowed := self.law.provenance.get("borrowed"):
            lines += [f"Too few rows of their own, so the others' shape: {_listed(f'`{g}`' for g in borrowed)}.", ""]
        lines += ["| variable | meaning | unit | role | range fitted |", "|---|---|---|---|---|"]
        for i, v in enumerate(self.table.variables):
            low, high = short(float(self.table.X[:, i].min())), short(float(self.table.X[:, i].max()))
            role = f"{v.role}, {v.log} of the quantity" if v.log else v.role
            lines.append(_row(f"`{v.symbol}`", v.meaning, v.unit, role, f"{low} to {high}"))
        return lines

    def constants(self) -> list[str]:
        lines = ["## Constants", ""]
        if self.intervals:
            lines += [
                f"In brackets: {self.level:g} % intervals from refits to reweighted rows, made as the fit was. "
                "They say how well the rows determine a constant if the formula is right, not that it is right.",
                "",
            ]
        for target in self.targets:
            if len(self.law.targets) > 1:
                lines += [f"### {target.column}", ""]
            lines += [*self.constants_of(target.column), ""]
            if limit := about_limit(self.law, target.column):
                lines += [f"**{_capital(limit)}.**", ""]
        if len(self.law.targets) > len(self.targets):
            lines.append(f"The other {len(self.law.targets) - len(self.targets)} targets are in `law.json`.")
        return _trimmed(lines)

    def constants_of(self, column: str) -> list[str]:
        by_group = self.law.constants[column]
        names = self.law.expressions[column].constants
        intervals, unknown = self.intervals.get(column, {}), self.unknown.get(column, {})

        def interval(group: str, name: str) -> str:
            """The interval of a constant, or why there is none."""
            why = unknown.get(group, {}).get(name)
            return f"(unknown: {why})" if why else _interval(intervals.get(group, {}).get(name))

        if not names:
            return ["The formula has no constants."]
        if len(by_group) == 1:
            (group,) = by_group
            lines = ["| constant | value | interval |", "|---|---|---|"]
            digits = self.law.digits(column)
            for c in names:
                lines.append(_row(f"`{c}`", f"{by_group[group][c]:.{digits}g}", interval(group, c)))
            return lines
        if len(by_group) <= _MOST_GROUPS:
            lines = [_row("group", *(f"`{c}`" for c in names)), "|---" * (len(names) + 1) + "|"]
            digits = self.law.digits(column, 5)
            for group, values in by_group.items():
                cells = (f"{values[c]:.{digits}g} {interval(group, c)}".strip() for c in names)
                lines.append(_row(group, *cells))
            return lines
        lines = ["| constant | median of the groups | smallest | largest |", "|---|---|---|---|"]
        for c in names:
            order = sorted((values[c], group) for group, values in by_group.items())
            median = float(np.median([value for value, _ in order]))
            ends = (f"{value:.5g} ({group})" for value, group in (order[0], order[-1]))
            lines.append(_row(f"`{c}`", f"{median:.5g}", *ends))
        return [*lines, "", f"Every one of the {len(by_group)} groups is in `law.json`."]

    def consensus(self) -> list[str]:
        best, n = self.found.best, self.found.chosen.consensus
        if best is None or self.found.single is None:
            return []
        lines = ["## One law out of many", ""]
        lines += [
            f"The {n} best laws of the search, bred ones with less say than plain ones, were asked what they predict "
            "beyond the data. Of their formulas, the law is the one that follows both the rows and the mean of these "
            "predictions best: the best of thousands owes part of its score to luck, the mean of many much less.",
            "",
            "The best form by itself, in `single.json`:",
            "",
            *(f"- `{c}` = `{e.text}`" for c, e in best.expressions.items()),
            "",
            _row("", "typical error on unseen rungs", "fit error", "held-out R²"),
            "|---|---|---|---|",
        ]
        single = _judge(self.found.single, self.held)[0]
        for name, c, s in (("chosen", self.found.chosen, self.scores), ("by itself", best, single)):
            r2 = _NONE if s is None else _r2(s)
            lines.append(_row(name, _percent(_typical(c.fold_errors)), _percent(c.train_nmse), r2))
        lines += ["", "The laws that took part, the heaviest first:", ""]
        taking_part = self.law.provenance.get("consensus", {})
        for column, texts in taking_part.items():
            about = f"`{column}`: " if len(taking_part) > 1 else ""
            lines += [f"- {about}`{text}`" for text in texts[:_SHOWN_MEMBERS]]
            if len(texts) > _SHOWN_MEMBERS:
                lines.append(f"- {about}and {len(texts) - _SHOWN_MEMBERS} more, in `law.json`")
        return lines

    # --- how far to trust it

    def extrapolation(self) -> list[str]:
        lines = ["## How well it extrapolates", ""]
        lines += [
            "Each form was fitted to the rows below a cut and judged on the rows beyond it. Errors are mean squared "
            "errors as a share of the variance of the data (0 % is exact, 100 % is no better than the mean). "
            "The choice also counts a price per constant and per check that fails far out: the smallest need not win.",
            "",
        ]
        names = ["chosen", *(f"runner-up {k + 1}" for k in range(min(3, len(self.rivals))))]
        candidates = [self.found.chosen, *(c for _, c in self.rivals[:3])]
        lines += [_row("judged on", "rows", *names), "|---|---|" + "---|" * len(names)]
        for k, fold in enumerate(self.found.folds):
            errors = (_percent(c.fold_errors[k]) if k < len(c.fold_errors) else _NONE for c in candidates)
            lines.append(_row(fold.name, str(len(fold.test)), *errors))
        lines.append(_row("**typical**", "", *(f"**{_percent(_typical(c.fold_errors))}**" for c in candidates)))
        lines += [""] + [f"- runner-up {k + 1}: `{c.text}`" for k, (_, c) in enumerate(self.rivals[:3])]
        noise = self.found.noise
        if noise:
            floor = f"{100 * noise['relative_sd']:.2g} %, an error of {_percent(noise['nmse'])}"
            points = f"{noise['n_points']:.0f} points were measured more than once"
            lines += ["", f"**Noise floor:** {points}; repeats differ by {floor}. No law can do better than that."]
        else:
            lines += ["", "**Noise floor:** unknown; no point was measured twice."]
        if self.scores is not None:
            lines += ["", "### Held-out rows, seen by no search", "", *self.held_out()]
        return _trimmed(lines)

    def believed(self) -> list[str]:
        judged = self.found.verdict
        lines = ["## Whether to believe it", "", f"**{_capital(judged.sentence)}.**", ""]
        lines.append(
            f"- Is there anything to explain? {100 * judged.p_value:.2g} % of tables with shuffled targets look as "
            f"dependent on the variables as this one (up to {100 * LEVEL:g} % is taken for a yes)."
        )
        if len(judged.p_values) > 1:
            each = ", ".join(
                f"`{t.column}` {100 * p:.2g} %" for t, p in zip(self.law.targets, judged.p_values, strict=True)
            )
            lines.append(f"- By target: {each}.")
        lines.append(
            f"- Better than no formula? On unseen rungs the error is {_percent(judged.versus_mean)} of that of the "
            f"mean of the rows below, and {_percent(judged.versus_nearest)} of that of the nearest row's value."
        )
        if judged.reach and judged.kind == "law":
            lines += [
                "- How far? Up to there laws that the folds cannot tell apart predict the same change, within half of "
                "it; it is no longer a step than the folds have tested; what was declared of the target holds; and the "
                "law's interval spans less than the data do."
            ]
        return lines

    def held_out(self) -> list[str]:
        s = self.scores
        assert s is not None
        within = _NONE if s.r2_within is None else f"{s.r2_within:.4f}"
        lines = ["| rows | R² | R² within groups | NMAE | mean relative error | inside the intervals |"]
        lines += ["|---|---|---|---|---|---|"]
        covered = _NONE if self.covered is None else f"{_percent(self.covered)} (promised: {self.level:g} %)"
        cells = (f"{s.n_rows}", _r2(s), within, f"{s.nmae:.4f}", _percent(s.are), covered)
        return [*lines, _row(*cells), *(["", "The law gives no finite number for some rows."] if s.failed else [])]

    def beyond(self) -> list[str]:
        lines = ["## Where the runners-up disagree", ""]
        reach = self.reach
        if reach is None:
            return [*lines, "The task has no scale variable to go beyond the data in."]
        x, group, _ = effects.reference_run(self.law, self.table)
        where = f"group `{group}`, " if len(self.law.groups) > 1 else ""
        lines += [f"Predictions at the largest run ({where}{effects.describe(self.table, x)}) and beyond it.", ""]
        ends = predict_intervals(self.law, reach.points) if self.intervals else None
        for j, target in enumerate(self.targets):
            if len(self.law.targets) > 1:
                lines += [f"### {target.column}", ""]
            lines += [_row("form", *reach.where), "|---" * (len(reach.where) + 1) + "|"]
            chosen = [f"{value:.4g}" for value in reach.predictions[0, :, j]]
            lines.append(_row("chosen", *chosen))
            if ends is not None:
                cells = (_interval((a, b)) for a, b in zip(ends[0][:, j], ends[1][:, j], strict=True))
                lines.append(_row(f"its {self.level:g} % interval", *cells))
            for k, (_, c) in enumerate(self.rivals):
                cells = (f"{value:.4g}" for value in reach.predictions[k + 1, :, j])
                mark = "" if c.admissible else " (fails a check)"
                lines.append(_row(f"`{c.expressions[target.column].text}`{mark}", *cells))
            if self.rivals:
                lines.append(_row("**apart by**", *(_apart(values) for values in reach.predictions[:, :, j].T)))
            lines.append("")
        return _trimmed(lines)

    def checks(self) -> list[str]:
        chosen = self.found.chosen
        lines = ["## Physical checks", ""]
        lines.append(
            "Every candidate was evaluated far beyond the data, up to 1000 times: it has to stay finite, within the "
            "declared bounds, monotone where declared, and near what was seen."
        )
        near = "passes every check as far out as it will be used"
        if not chosen.admissible:
            lines += ["", "**The law fails a check where it will be used:**", "", *(f"- {r}" for r in chosen.reasons)]
        elif chosen.reasons:
            lines += ["", f"The law {near}. Farther out:", "", *(f"- {r}" for r in chosen.reasons)]
        else:
            lines += ["", f"The law {near}, and farther out too."]
        return lines

    def firmness(self) -> list[str]:
        lines = ["## How firm the fit is", ""]
        texts = {f"`{t.column}`: ": self.law.settings[t.column].objective for t in self.targets}
        if len(set(texts.values())) == 1:
            texts = {"": next(iter(texts.values()))}
        lines += [f"- {name}Minimised: {text}." for name, text in texts.items()]
        for target, d in zip(self.targets, self.diagnoses, strict=True):
            name = f"`{target.column}`: " if len(self.law.targets) > 1 else ""
            lines += [f"- {name}{sentence}" for sentence in d.sentences(self.intervals.get(target.column, {}))]
        return lines

    # --- how it came about

    def search(self) -> list[str]:
        counts = dict(self.found.counts)
        tried = counts.pop("tried", 0)
        judged, failing = counts.pop("judged", 0), counts.pop("inadmissible", 0)
        lines = ["## The search", ""]
        lines.append(f"{tried} forms were tried with {self.found.n_fits} fits; {judged} could be judged.")
        lines.append("")
        lines += [f"- {failing} judged, but failing a physical check where the law will be used"] if failing else []
        lines += [f"- {n} rejected: {why}" for why, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        lines += ["", f"The search took {self.found.seconds:.0f} seconds.", ""]
        lines += ["Best form of each size (lower scores extrapolate better):", ""]
        lines += [
            "| nodes | constants | score | fit error | typical fold error | proposed by | form |",
            "|---" * 7 + "|",
        ]
        for c in self.found.front[-_SHOWN_FRONT:]:
            errors = (_percent(c.train_nmse), _percent(_typical(c.fold_errors)))
            lines.append(
                _row(str(c.complexity), str(c.n_constants), f"{c.score:.3f}", *errors, c.origin, f"`{c.text}`")
            )
        return lines

    def model(self) -> list[str]:
        about = self.found.llm
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
        lines += ["", _row("", "fits", "judged", "best law improved", "log error gained"), "|---|---|---|---|---|"]
        share, judged = about["share_of_fits"], about["judged"] + about["descendants"]
        tried = self.found.counts.get("tried", 0) - judged
        for who, name, part, n in (
            ("engine", "the engine", 1 - share, tried),
            ("model", "the model's formulas and their descendants", share, judged),
        ):
            lines.append(_row(name, _percent(part), str(n), str(best[who]), f"{gain[who]:.3g}"))
        lines += ["", f"Asked for in turns with tools: {about['remark']}."] if about["remark"] else []
        lines += ["", f"- formulas of its own judged: {about['judged']}; bred from them for its share: {about['bred']}"]
        lines += [f"- {about['known']} were known already"] if about["known"] else []
        lines += [f"- {n} not readable: {why}" for why, n in sorted(about["rejected"].items())]
        lines += [f"- {about['ignored']} repeated, or beyond what one reply may have"] if about["ignored"] else []
        lines += [f"- {n} calls failed: {' '.join(why.split())[:200]}" for why, n in sorted(about["failed"].items())]
        lines += ["- the last call had no answer yet when the search ended"] if about["cancelled"] else []
        lines += [f"- no more was asked: {' '.join(about['stopped'].split())[:200]}"] if about["stopped"] else []
        granted = ", ".join(f"{_percent(s)} after {i}" for i, s in about["shares"][:12])
        lines += [f"- share of the fits granted, by what was earned: {granted} candidates"] if granted else []
        lines += ["", *self.lineage()]
        return lines

    def lineage(self) -> list[str]:
        chosen = self.found.chosen
        if not chosen.of_model:
            if self.found.llm["had_the_law"]:
                return [f"The law came from the engine (`{chosen.origin}`); the model proposed the same family."]
            return ["The law is the engine's own: it does not descend from what the model proposed."]
        if not chosen.lineage:
            return ["The law was proposed by the model."]
        first, *rest = chosen.lineage
        lines = ["The law descends from what the model proposed:", "", f"1. `{first}`"]
        lines += [f"{k}. `{text}`" for k, text in enumerate(rest, start=2)]
        return [*lines, f"{len(rest) + 2}. the law: `{chosen.text}`"]

    def data(self) -> list[str]:
        lines = ["## The data", ""]
        card = self.task.card if self.task is not None else None
        facts = [f"{self.table.n_rows} rows"]
        if card is not None:
            facts = [f"{self.table.n_rows} rows, each {card.row or 'one run'}"]
            origin = (("origin", card.provenance), ("licence", card.licence), ("held out", card.extrapolation))
            for word, text in origin:
                facts += [f"{word}: {text}"] if text else []
        if len(self.table.groups) > 1:
            facts.append(f"{len(self.table.groups)} groups (`{self.table.group_column or 'group'}`)")
        facts.append(f"sha256 of the rows: `{self.table.digest()}`")
        lines += [f"- {fact}" for fact in facts]
        notes = [*self.found.notes, *(card.notes if card is not None else ())]
        if notes:
            lines += ["", "Notes:", "", *(f"- {note}" for note in dict.fromkeys(notes))]
        return lines

    def reproduce(self) -> list[str]:
        config = json.dumps(dict(self.found.config), indent=2, sort_keys=True, ensure_ascii=False, default=str)
        lines = ["## To reproduce", "", "```bash", _command(self.found, self.task), "```", ""]
        lines += ["```json", config, "```", ""]
        lines.append(
            f"With {_versions()}. A budget in fits repeats bit for bit; one in seconds stops where time is up."
        )
        return lines

    def checklist(self) -> list[str]:
        declared = self.task.card.paper.get("checklist", {}) if self.task is not None else {}
        fields = filled(self.known(), declared if isinstance(declared, Mapping) else {})
        n = sum(text != NOT_REPORTED for text in fields.values())
        lines = ["## Checklist", ""]
        lines.append(
            f"{n} of {len(fields)} fields of the reproducibility checklist (Li et al. 2025, arXiv 2502.18969) are "
            "filled. The others can be declared in the card under `[paper.checklist]`: "
            '`"train.optimizer" = "AdamW"`.'
        )
        lines += ["", "| field | |", "|---|---|"]
        return lines + [_row(f"`{key}`", text) for key, text in fields.items()]

    def known(self) -> dict[str, str]:
        return known_fields(
            self.found, self.task, self.diagnoses, scores=self.scores, covered=self.covered,
            command=_command(self.found, self.task), versions=_versions(),
        )  # fmt: skip


# --- pieces ---------------------------------------------------------------------------------------------------------


def _rivals(found: Discovery) -> list[tuple[Law, Candidate]]:
    rivals: list[tuple[Law, Candidate]] = []
    for c in found.hall_of_fame:
        if c.key != found.chosen.key and c.constants and len(rivals) < RUNNERS_UP:
            try:
                law = effects.with_formula(found.law, c.expressions, c.constants)
            except SldError:  # constants of a thinned table may lack a group
                continue
            rivals.append((law, c))
    return rivals


def _judge(law: Law, held_out: Table | None) -> tuple[Scores | None, float | None]:
    """Return the scores on held-out rows of known groups, and the share of them inside the intervals."""
    if held_out is not None and law.grouped:
        held_out = held_out.take(np.isin(np.array(held_out.groups), law.groups)[held_out.group_index])
    if held_out is None or not held_out.n_rows:
        return None, None
    columns = [t.column for t in held_out.targets]
    Y = held_out.Y[:, [columns.index(t.column) for t in law.targets]]
    covered = None
    if law.intervals is not None:
        lower, upper = predict_intervals(law, held_out)
        covered = float(np.mean((lower <= Y) & (Y <= upper)))
    return scores(Y, law.predict(held_out), held_out.group_index), covered


def _typical(errors: Sequence[float]) -> float:
    """Return the geometric mean: errors of folds differ by orders of magnitude."""
    known = [e for e in errors if math.isfinite(e) and e > 0]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan


def _percent(share: float) -> str:
    return _NONE if not math.isfinite(share) else f"{100 * share:.3g} %" if share < 100 else f"{100 * share:.1e} %"


def _r2(found: Scores) -> str:
    return "−1 (failed)" if found.failed else f"{found.r2:.4f}"


def _interval(ends: Interval | None) -> str:
    return "" if ends is None else f"({ends[0]:.4g} to {ends[1]:.4g})"


def _apart(values: Iterable[float]) -> str:
    known = np.array([v for v in values if math.isfinite(v)])
    if len(known) < 2:
        return _NONE
    middle = abs(float(np.median(known)))
    return f"**{_percent(float(np.ptp(known)) / middle)}**" if middle > 0 else f"**{np.ptp(known):.3g}**"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _row(*cells: str) -> str:
    # a bar would end the cell, and a line break the table
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _listed(words: Iterable[str]) -> str:
    *some, last = words
    return f"{', '.join(some)} and {last}" if some else last


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _latex_name(name: str) -> str:
    escaped = "".join(f"\\{c}" if c in "_%$#&{}" else c for c in name)
    return rf"\text{{{escaped}}}"


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
    for formula in config.get("formulas", ()):
        text = formula if isinstance(formula, str) else "; ".join(f"{t}: {f}" for t, f in formula.items())
        words += ["--try", text]
    return shlex.join(words)


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
    words += ["--lower", f"{goal.lower:g}"] if goal.lower is not None else []
    words += ["--upper", f"{goal.upper:g}"] if goal.upper is not None else []
    return [*words, "--better", "higher"] if goal.better == "higher" else words


def _versions() -> str:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def of(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} (not installed)"

    return ", ".join([*(of(p) for p in ("sld", "numpy", "numba")), f"Python {platform.python_version()}"])
