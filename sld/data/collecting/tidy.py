"""The tidy table: a row a run or a checkpoint, with the columns that were asked for or that are found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sld.core.errors import UsageError
from sld.core.numbers import exact
from sld.data.collecting.account import Remark, listed
from sld.data.collecting.asked import CONFIG, STEP, Scale, Summary, found_name, unknown_name
from sld.data.collecting.counters import (
    FOLLOWS,
    LOSSES,
    PLANNED_STEPS,
    REPORTS,
    SIZES,
    TOKENS,
    TOKENS_PER_STEP,
    first_known,
    folded,
)
from sld.data.collecting.resolve import Run
from sld.data.collecting.values import Taken, along, product, take
from sld.data.importers.attempt import Cell

Per = Literal["run", "step"]
RUN, STATUS = "run", "status"
DIVERGED, UNFINISHED, FINISHED, INCOMPLETE = "diverged", "unfinished", "finished", "incomplete"
_MOST_KEPT = 12  # settings that differ between runs and come along unasked
_LONGEST_KEPT = 24  # characters of a setting that comes along unasked; longer ones are paths and prose
_GAP = 1.5  # a step this many times the usual one has points missing

# adds settings to a run's own: what a configuration lets one count (parameters, FLOPs)
Derive = Callable[[Mapping[str, Cell]], Mapping[str, Cell]]


@dataclass(frozen=True)
class Wanted:
    """What the table is to hold; empty is: found by name.

    Attributes:
        per: A row a run, or a checkpoint.
        summaries: The targets.
        scales: Columns that grow with money.
        group: The setting by which runs are grouped.
        keep: Settings and metrics that come along.
        keep_unfinished: Unfinished runs stay, with what they had at their end.
        derive: Adds settings to each run's.
    """

    per: Per = "run"
    summaries: tuple[Summary, ...] = ()
    scales: tuple[Scale, ...] = ()
    group: str | None = None
    keep: tuple[str, ...] = ()
    keep_unfinished: bool = False
    derive: tuple[Derive, ...] = ()


@dataclass
class Tidy:
    """The table, and where its columns are from.

    Attributes:
        columns: Name to cells, all of one length.
        targets: Columns that summaries gave, and what each is.
        scales: Columns that scales gave, and what each is.
        kept: Columns that came along.
        group: The column of groups.
        per: What a row is.
    """

    columns: dict[str, list[Cell]] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    group: str | None = None
    per: Per = "run"

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.columns.get(RUN, ()))


def tidy(runs: Sequence[Run], wanted: Wanted, remarks: list[Remark]) -> Tidy:
    """Return the table of runs.

    Raises:
        UsageError: A name that was asked for is nowhere; or no loss is found where none was named.
    """
    own = runs
    runs = [_derived(run, wanted.derive) for run in runs]
    names = _Names(runs)
    names.derived = {k for new, old in zip(runs, own, strict=True) for k in new.config if k not in old.config}
    if wanted.per == "step" and (ways := [s for s in wanted.summaries if s.way != "last" or s.window]):
        raise UsageError(f"--summary {ways[0].text} makes a run one number; a row a checkpoint has the metric itself")
    summaries = list(wanted.summaries) or [_guessed_loss(names, wanted.per, remarks)]
    scales = list(wanted.scales) or _guessed_scales(names, wanted.per, remarks)
    plan = _Plan(
        wanted,
        names,
        dict(zip(_columns_of(summaries), summaries, strict=True)),
        {s.column: (s, {f: names.factor(f) for f in s.factors if isinstance(f, str)}) for s in scales},
        _kept(names, wanted, summaries, scales),
    )
    _check_columns(plan)
    table = Tidy(per=wanted.per, kept=list(plan.kept), group=plan.group)
    table.targets = {column: s.text for column, s in plan.targets.items()}
    table.scales = {column: scale.text for column, (scale, _) in plan.scales.items()}
    order = [RUN, *([STEP] if wanted.per == "step" else []), *([plan.group] if plan.group else [])]
    order += [*plan.scales, *(k for k in plan.kept if k != plan.group), *plan.targets, STATUS]
    table.columns = {name: [] for name in order}
    for run in runs:
        rows = _rows_of_run(run, plan, remarks) if wanted.per == "run" else _rows_of_steps(run, plan, remarks)
        for row in rows:
            for name, cells in table.columns.items():
                cells.append(row.get(name))
    return table


class _Names:
    """What the runs have: metrics and settings, and how often."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self.derived: set[str] = set()
        self.series = _counted(run.series for run in runs)
        self.summary = _counted(run.summary for run in runs)
        self.config = _counted(run.config for run in runs)
        self.metrics = list(dict.fromkeys((*self.series, *self.summary)))

    def metric(self, wanted: str) -> str:
        """Return the metric, or setting of an exported table, that is meant; raises UsageError."""
        there = [*self.metrics, *(k for k in self.config if k not in self.metrics)]
        try:
            return found_name(wanted, self.metrics, "metric")
        except UsageError:
            if wanted in there or any(folded(k) == folded(wanted) for k in self.config):
                return found_name(wanted, there, "metric")
            if self.metrics:
                raise
            raise UsageError(unknown_name(wanted, there, "metric")) from None

    def factor(self, wanted: str) -> str:
        """Return what a factor of a scale is called; raises UsageError."""
        if wanted == STEP:
            return STEP
        if wanted.startswith(CONFIG):
            return CONFIG + found_name(wanted.removeprefix(CONFIG), list(self.config), "setting")
        for there, prefix in ((self.metrics, ""), (list(self.config), CONFIG)):
            try:
                return prefix + found_name(wanted, there, "metric or setting")
            except UsageError as error:
                if "may be" in str(error):
                    raise
        raise UsageError(unknown_name(wanted, [*self.metrics, *self.config], "metric or setting"))


def _counted(tables: Iterable[Mapping[str, object]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in tables:
        for name in table:
            counts[name] = counts.get(name, 0) + 1
    return counts


@dataclass(frozen=True)
class _Plan:
    """The columns of the table, their names resolved."""

    wanted: Wanted
    names: _Names
    targets: Mapping[str, Summary]
    scales: Mapping[str, tuple[Scale, Mapping[str, str]]]
    kept: Mapping[str, str]  # column to setting ("config.") or metric

    @property
    def group(self) -> str | None:
        return next((c for c, name in self.kept.items() if self.wanted.group in (c, name)), None)


def _derived(run: Run, derive: Sequence[Derive]) -> Run:
    from dataclasses import replace

    for function in derive:
        run = replace(run, config={**function(run.config), **run.config})
    return run


def _columns_of(summaries: Sequence[Summary]) -> list[str]:
    """Return the column of each summary: as named, else the metric, with the way where there are several of it."""
    metrics = [s.metric for s in summaries]
    columns = []
    for s in summaries:
        plain = s.column or (s.metric if metrics.count(s.metric) == 1 else s.text.replace(":", " "))
        if plain in columns:
            raise UsageError(f"--summary makes two columns {plain!r}; name one: NAME={s.text}")
        columns.append(plain)
    return columns


def _check_columns(plan: _Plan) -> None:
    taken = {RUN: "the run's name", STATUS: "what became of a run"}
    if plan.wanted.per == "step":
        taken[STEP] = "the counter"
    for kind, columns in (("scale", plan.scales), ("summary", plan.targets), ("keep", plan.kept)):
        for column in columns:
            if column in taken and not (kind == "scale" and column == STEP):
                raise UsageError(
                    f"column {column!r} ({kind}) has the name of another ({taken[column]}); name it otherwise"
                )
            taken[column] = kind


# -- found by name ----------------------------------------------------------------------------------------------------


def _guessed_loss(names: _Names, per: Per, remarks: list[Remark]) -> Summary:
    curves = sum(bool(run.series) for run in names.runs)
    wanted = LOSSES if per == "run" else (*LOSSES, *REPORTS)
    places: list[tuple[Mapping[str, int], float]] = [(names.series, curves / 2), (names.series, 0)]
    places += [(names.summary, 0), (names.config, 0)] if per == "run" else []
    for there, least in places:
        common = [name for name, n in there.items() if n > least or n == least > 0]
        metric = first_known(wanted, common)
        if metric is None and there is not names.config:
            metric = next((n for n in common if "loss" in folded(n)), None)
        if metric is not None:
            column = "loss" if "loss" in folded(metric) or "entropy" in folded(metric) else metric
            what = f"the last {metric} of a run" if per == "run" else metric
            remarks.append(Remark("note", "", f"column {column} is {what} (--summary for another)"))
            return Summary(metric, column=column)
    there_are = listed(names.metrics or names.config, 12)
    if not there_are:
        raise UsageError("the runs have no metric: their logs are empty, or hold no numbers")
    raise UsageError(f"no loss among the metrics; name one with --summary last:METRIC (there are {there_are})")


def _guessed_scales(names: _Names, per: Per, remarks: list[Remark]) -> list[Scale]:
    scales = []
    size = first_known(SIZES, names.config)
    metric_size = first_known(SIZES, names.metrics)
    if size is not None:
        scales.append(Scale("N", (CONFIG + size,)))
    elif metric_size is not None:
        scales.append(Scale("N", (metric_size,)))
    tokens, per_step = first_known(TOKENS, names.series), first_known(TOKENS_PER_STEP, names.config)
    if tokens is not None:
        scales.append(Scale("D", (tokens,)))
    elif per_step is not None:
        scales.append(Scale("D", (STEP, CONFIG + per_step)))
    elif per == "run" and (total := first_known(TOKENS, names.config) or first_known(TOKENS, names.summary)):
        scales.append(Scale("D", (CONFIG + total if total in names.config else total,)))
    if per == "step" and not any(s.column == "D" for s in scales):
        remarks.append(Remark("note", "", "no counter of tokens was found: the scale of checkpoints is their step"))
        scales.append(Scale(STEP, (STEP,)))
    for scale in scales:
        if scale.column != STEP:
            remarks.append(Remark("note", "", f"column {scale.column} is {scale.text} (--scale for another)"))
    for column, hint in (("N", "N=config.NAME"), ("D", "D=step*config.batch_size*config.seq_len")):
        if per == "run" and not any(s.column == column for s in scales):
            what = "number of parameters" if column == "N" else "count of tokens"
            remarks.append(Remark("note", "", f"no {what} was found; say where it is, e.g. --scale {hint}"))
    return scales


def _kept(names: _Names, wanted: Wanted, summaries: Sequence[Summary], scales: Sequence[Scale]) -> dict[str, str]:
    """Return the columns that come along: those asked for, else settings that differ between runs."""
    asked = [*([wanted.group] if wanted.group else []), *wanted.keep]
    kept = {}
    for name in asked:
        found = names.factor(name)
        kept[name.removeprefix(CONFIG)] = found
    if wanted.keep:
        return kept
    used = {names.factor(f).removeprefix(CONFIG) for s in scales for f in s.factors if isinstance(f, str)}
    used |= {s.metric for s in summaries} | set(kept) | {RUN, STATUS, STEP, *(s.column for s in scales)}
    used |= {s.column for s in summaries}
    for key, n in names.config.items():
        if len(kept) >= _MOST_KEPT + len(asked) or key in used or 2 * n <= len(names.runs):
            continue
        if key in names.derived:  # counted in five ways: whoever wants them asks
            continue
        values = [run.config.get(key) for run in names.runs if run.config.get(key) is not None]
        if _comes_along(key, values):
            kept[key] = CONFIG + key
    return kept


def _comes_along(key: str, values: Sequence[Cell]) -> bool:
    """Whether a setting differs between runs and is one that a law, or its reader, may ask for."""
    distinct = {str(v) for v in values}
    if len(distinct) < 2 or any(len(text) > _LONGEST_KEPT for text in distinct):
        return False
    words = folded(key).split()
    if first_known((*FOLLOWS, *PLANNED_STEPS), [key]) or {"dir", "path", "name", "id", "time", "date", "host"} & set(
        words
    ):
        return False
    texts = any(isinstance(v, str) for v in values)
    return not (texts and len(distinct) == len(values) and len(values) > 2)  # each has its own: a name


# -- rows -------------------------------------------------------------------------------------------------------------


def _own_name(run: Run, metric: str) -> str | None:
    """Return what a run calls a metric: runs of other sources may write it otherwise."""
    if metric in run.series or metric in run.summary or metric in run.config:
        return metric
    return next((k for k in (*run.series, *run.summary) if folded(k) == folded(metric)), None)


def _rows_of_run(run: Run, plan: _Plan, remarks: list[Remark]) -> list[dict[str, Cell]]:
    row: dict[str, Cell] = {RUN: run.name}
    taken: dict[str, Taken] = {}
    for column, asked in plan.targets.items():
        metric = _own_name(run, plan.names.metric(asked.metric))
        counter = plan.names.factor(asked.counter) if asked.way == "at" else None
        taken[column] = take(run, metric, asked, counter)
        row[column] = taken[column].value
        _say_taken(run, column, asked, taken[column], remarks)
    main = next(iter(taken.values()))
    metric = _own_name(run, plan.names.metric(next(iter(plan.targets.values())).metric))
    if metric is not None and metric in run.series:
        _say_gaps(run, metric, run.series[metric].pairs()[0], remarks)
    status = _status(run, main.diverged, plan, remarks)
    if status is None:
        return []
    for column, (scale, names) in plan.scales.items():
        row[column], between = product(run, scale, main.step, names)
        if between:
            text = f"{column} is read between two logged points at step {exact(main.step)}"
            remarks.append(Remark("interpolated", run.name, text))
        if row[column] is None and status != DIVERGED:
            remarks.append(Remark("empty", run.name, f"has no {scale.text} for {column}{_where(main)}"))
    _keep(run, plan, row, main.step)
    lacking = any(row[c] is None for c in (*plan.scales, *plan.targets))
    row[STATUS] = INCOMPLETE if lacking and status != DIVERGED else status
    return [row]


def _where(main: Taken) -> str:
    return "" if main.step is None else f" at step {exact(main.step)}"


def _say_taken(run: Run, column: str, asked: Summary, taken: Taken, remarks: list[Remark]) -> None:
    if taken.not_finite and not taken.diverged:
        remarks.append(
            Remark("not finite", run.name, f"{taken.not_finite} NaN or infinite values of {asked.metric} do not count")
        )
    if taken.between:
        remarks.append(Remark("interpolated", run.name, f"{column} is read between two logged points"))
    if taken.value is None and not taken.diverged:
        why = f" at {asked.counter} = {exact(asked.value)}" if asked.way == "at" else ""
        remarks.append(Remark("empty", run.name, f"has no {asked.metric}{why}"))


def _status(run: Run, diverged: bool, plan: _Plan, remarks: list[Remark]) -> str | None:
    """Return what became of a run; None for one that is left out."""
    if diverged:
        metric = next(iter(plan.targets.values())).metric
        remarks.append(Remark("diverged", run.name, f"its last {metric} is not finite; it has no value, and is marked"))
        return DIVERGED
    if run.state == "unfinished":
        remarks.append(Remark("unfinished", run.name, run.ended))
        return UNFINISHED if plan.wanted.keep_unfinished else None
    return FINISHED


def _keep(run: Run, plan: _Plan, row: dict[str, Cell], step: float | None) -> None:
    for column, name in plan.kept.items():
        if name.startswith(CONFIG):
            row[column] = run.config.get(name.removeprefix(CONFIG))
        else:
            row[column] = product(run, Scale(column, (name,)), step, {name: name})[0]


def _rows_of_steps(run: Run, plan: _Plan, remarks: list[Remark]) -> list[dict[str, Cell]]:
    first, *others = plan.targets.items()
    own = {column: _own_name(run, plan.names.metric(asked.metric)) for column, asked in plan.targets.items()}
    main = own[first[0]]
    if main is None or main not in run.series or not len(run.series[main]):
        remarks.append(Remark("empty", run.name, f"has no curve of {first[1].metric}"))
        return []
    steps, values = run.series[main].pairs()
    finite = np.isfinite(values)
    status = _status(run, not finite[-1], plan, remarks)
    if status is None:
        return []
    if not finite.all() and finite[-1]:
        remarks.append(
            Remark("not finite", run.name, f"{int((~finite).sum())} NaN or infinite points of {main} are left out")
        )
    _say_gaps(run, main, steps, remarks)
    steps, values = steps[finite], values[finite]
    if plan.scales:
        _say_between(run, plan, steps, remarks)
    curves = {c: dict(zip(*_points(run, own[c]), strict=True)) for c, _ in others}
    rows = []
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        row: dict[str, Cell] = {RUN: run.name, STEP: int(step) if step == int(step) else step, first[0]: value}
        row |= {column: curves[column].get(step) for column, _ in others}
        for column, (scale, names) in plan.scales.items():
            row[column] = product(run, scale, step, names)[0]
        _keep(run, plan, row, step)
        lacking = any(row[c] is None for c in (*plan.scales, first[0]))
        row[STATUS] = INCOMPLETE if lacking and status != DIVERGED else status
        rows.append(row)
    return rows


def _points(run: Run, metric: str | None) -> tuple[list[float], list[float | None]]:
    if metric is None or metric not in run.series:
        return [], []
    steps, values = run.series[metric].pairs()
    return steps.tolist(), [v if np.isfinite(v) else None for v in values.tolist()]


def _say_between(run: Run, plan: _Plan, steps: np.ndarray, remarks: list[Remark]) -> None:
    """Say where counters were logged at other steps than the metric."""
    for column, (_, names) in plan.scales.items():
        for name in names.values():
            if name in run.series and len(steps):
                off = int((~np.isin(steps, run.series[name].steps)).sum())
                found = along(run, name, steps)
                lost = 0 if found is None else int(np.isnan(found).sum())
                if off - lost > 0:
                    text = f"{column} was read between logged points of {name} at {off - lost} steps"
                    remarks.append(Remark("interpolated", run.name, text))
                if lost:
                    remarks.append(
                        Remark("empty", run.name, f"{name} is unknown at {lost} steps, outside what was logged")
                    )


def _say_gaps(run: Run, metric: str, steps: np.ndarray, remarks: list[Remark]) -> None:
    """Say which points of an otherwise even history are gone."""
    if len(steps) < 4:
        return
    gaps = np.diff(steps)
    usual = float(np.median(gaps))
    wide = np.flatnonzero(gaps > _GAP * usual)
    if usual > 0 and len(wide) and (gaps == usual).mean() >= 0.5:
        gone = int(np.round(gaps[wide] / usual - 1).sum())
        k = int(wide[0])
        where = f"first between steps {exact(steps[k])} and {exact(steps[k + 1])}"
        remarks.append(Remark("gaps", run.name, f"about {gone} points of {metric} are gone ({where})"))
