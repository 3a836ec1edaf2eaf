"""Curves: the end of runs that have begun, and laws of the loss along a run under a schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from sld.core.arguments import checked
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short

if TYPE_CHECKING:
    from sld.analysis.curves.across import Larger
    from sld.analysis.curves.annealing import Observed
    from sld.analysis.curves.curve_law import CurveLaw
    from sld.analysis.curves.finals import Asked, FinalValues
    from sld.analysis.curves.mixture import Mixture
    from sld.analysis.curves.runs import Curve
    from sld.analysis.curves.schedules import Rates
    from sld.analysis.curves.trunks import Cost


class CurveOptions(TypedDict, total=False):
    """What the rows of a table of curves are.

    Attributes:
        run: Column(s) that tell the runs apart; without one, all rows are one run.
        lr: Column of the learning rate.
        schedule: Learning rate by name, for all runs ("cosine:warmup=500,total=20000") or by run.
        drop: Rows to leave out, e.g. "step<1000".
        melt: The table has one column per run.
    """

    run: str | Sequence[str]
    lr: str | None
    schedule: str | Mapping[str, str] | None
    drop: str | Sequence[str]
    melt: bool


class EndOptions(CurveOptions, total=False):
    """What is known of the values whose end is asked for, and what the rows of the table are.

    Attributes:
        better: "lower" (the default) or "higher": which value is better.
        lower: Bound that no value can fall below.
        upper: Bound that no value can exceed.
        level: Level of the intervals, 0.9 if not given.
        pooled: Whether the runs are of one kind, so that they say something of each other's shape; True if not given.
        first: Use the first part of each run only, e.g. 0.4 of its last step: to see what would have been foretold.
        cooled: Column that marks checkpoints whose learning rate had fallen (1, true or yes). The others are the trunk
            of their run, and what is foretold is the cooled value.
        trunk: Column with the run that a run branched from, empty for none. What the runs cost so far is then told
            with every shared part counted once.
        larger: Column with the size of a run's model, and sizes whose ends are foretold from those of the runs: such as
            `{"N": [1e9, 4e9]}`, for models that are trained as these are.
        priors: "auto" (the default) expects of runs of at most five points what such runs do in other tables; "none"
            expects what runs of any length do.
    """

    better: Literal["lower", "higher"]
    lower: float | None
    upper: float | None
    level: float
    pooled: bool
    first: float | None
    cooled: str | None
    trunk: str | None
    larger: Mapping[str, Sequence[float]] | None
    priors: str


@checked()
def curve(
    data: object,
    *,
    target: str,
    step: str,
    until: float | str | None = None,
    seed: int = 0,
    **options: Unpack[EndOptions],
) -> FinalValues:
    r"""Foretell the value at the end of runs that are under way, each with its interval.

    With $u = x/x_c$ the step over the last one that was measured, a run is taken to go on as

    $$ T(y(u)) = \ell - s\,g_\theta(u) - \rho\,[d(u) - d(1)] , $$

    where $\ell$ and $s$ are level and slope at the end of what is known, $g_\theta$ is a shifted power, a logarithm
    or a
    sigmoid, and $\rho\,d$ what the fall of the learning rate brings, where the schedule is known. Every shape counts
    by how
    well it fits (Bayes), runs of one table share what they tell of the shape, and points that follow each other closely
    do not count as independent. The same serves for learning curves over rows of training data.

    Args:
        data: A table with a row for each checkpoint (path, DataFrame, mapping of columns, list of records).
        target: Column of the values.
        step: Column of steps, tokens, samples or rows of training data.
        until: Where the runs end: a number, a multiple such as "10x" of each run's last step, or a column that says so;
            the schedule's `total` if not given.
        seed: Of the draws behind the probabilities of being best.
        **options: `run`, `lr`, `schedule`, `better`, `lower`, `upper`, `level`, `pooled`, `first`, `cooled`,
            `trunk`, `larger`, `priors`, `drop`, `melt`: see `sld.api.curves.EndOptions`.

    Returns:
        The end of each run (`finals`, a row each in `to_frame()`), which is best, and which can stop.

    Raises:
        UsageError: Nothing says where the runs end, or a word is not understood.
        DataError: A column is missing or a cell is no number.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> step = np.arange(1, 41) * 100.0
        >>> ends = sld.curve({"step": step, "loss": 2 + 30 * step**-0.5}, target="loss", step="step", until=16000)
        >>> end = ends.finals[0]
        >>> round(end.value, 2), end.low < 2 + 30 * 16000**-0.5 < end.high
        (2.24, True)
    """
    from sld.analysis.curves.finals import Asked, FinalValues, final_values
    from sld.analysis.curves.trunks import gains, on_trunks

    better = options.get("better", "lower")
    if better not in ("lower", "higher"):
        raise UsageError(f"better must be lower or higher, got {better!r}")
    level = options.get("level", 0.9)
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}")
    curves, ends, notes = _read(data, target, step, until, options, options.get("cooled"))
    cooled = _cooled(data, target, step, options)
    parents = _parents(data, target, step, options)
    cost = _cost(data, target, step, options, parents)
    if cooled is not None:
        curves, cooled = on_trunks(curves, cooled, parents)
    if (first := options.get("first")) is not None:
        if not 0 < first <= 1:
            raise UsageError(f"first is a share of each run, above 0 and at most 1, got {exact(first)}")
        curves, without = _first_part(curves, first)
        notes = [*notes, *without]
    _check_ends(curves, ends, step)
    curves = [c.until(ends[c.name]) if c.x[0] <= ends.get(c.name, -1) < c.x[-1] else c for c in curves]
    rates, said = _rates_to(curves, ends, options)
    _check_bounds(curves, target, options)
    priors = options.get("priors", "auto")
    if priors not in ("auto", "none"):
        raise UsageError(f"priors must be auto or none, got {priors!r}")
    bounds = options.get("lower"), options.get("upper")
    asked = Asked(better, level, *bounds, options.get("pooled", True), seed, priors)
    worth = None if cooled is None else gains(curves, cooled, ends, pooled=asked.pooled)
    finals, found, remarks = final_values(curves, ends, asked=asked, rates=rates, cooled=worth)
    by_name = {c.name: c for c in curves}
    more, beyond = _larger(data, target, step, found, options, (asked, {f.run: f.at for f in finals}))
    notes = [*notes, *remarks, *beyond]
    return FinalValues(target, step, level, better, tuple(finals), said, tuple(notes), by_name, found, cost, more)


def _first_part(curves: Sequence[Curve], share: float) -> tuple[list[Curve], list[str]]:
    """Return the first part of each run that has a point there, and which have none."""
    parts = [c.until(share * c.x[-1]) for c in curves]
    if none := [c.name for c in parts if not len(c.x)]:
        more = f" and {len(none) - 8} more" if len(none) > 8 else ""
        said = f"no point lies in the first {short(100 * share)} % of {', '.join(none[:8])}{more}"
        if len(none) == len(parts):
            raise UsageError(f"{said}; use a larger first part")
        return [c for c in parts if len(c.x)], [said]
    return parts, []


def _check_ends(curves: Sequence[Curve], ends: Mapping[str, float], step: str) -> None:
    """Refuse ends that lie before a run begins: of these nothing can be told."""
    for c in curves:
        if (end := ends.get(c.name, math.inf)) < c.x[0] * (1 - 1e-12):
            raise UsageError(f"until {step} = {exact(end)}: run {c.name!r} begins later, at {exact(c.x[0])}")


def _check_bounds(curves: Sequence[Curve], target: str, options: EndOptions) -> None:
    """Refuse bounds that the values themselves break."""
    low, high = options.get("lower"), options.get("upper")
    if any(x is not None and not math.isfinite(x) for x in (low, high)):
        raise UsageError("lower and upper are numbers that no value falls below, or exceeds")
    for c in curves:
        if (low is not None and c.y.min() < low) or (high is not None and c.y.max() > high):
            ends = f"{short(c.y.min(), 4)} to {short(c.y.max(), 4)}"
            raise UsageError(f"{target} of {c.name} goes from {ends}, beyond what lower and upper say of all values")


@checked()
def curve_law(
    data: object,
    *,
    target: str,
    step: str,
    law: str = "auto",
    size: str | None = None,
    skip: float = 0.0,
    **options: Unpack[CurveOptions],
) -> CurveLaw:
    r"""Fit a law of the loss along whole runs under their learning rates; it foretells other schedules.

    The annealing law (Tissue et al. 2024, arXiv:2408.11029) and the multi-power law (Luo et al. 2025,
    arXiv:2503.12811),

    $$ L = L_0 + A S_1^{-\alpha} - C S_2, \qquad
       L = L_0 + A (S_1 + S_W)^{-\alpha} - B \sum_k \Delta\eta_k \bigl(1 - (1 + C \eta_k^{-\gamma} S_k)^{-\beta}\bigr)
       . $$

    Args:
        data: A table with a row for each checkpoint.
        target: Column of the loss.
        step: Column of the steps.
        law: `annealing`, `multi-power`, or `auto`: the one that better foretells the last third of the runs from the
            rest.
        size: Column whose values share $L_0$ and $A$ (several sizes at once); one size if not given.
        skip: Share of each run that is left out at its start, after the warm-up.
        **options: `run`, `lr`, `schedule`, `drop`, `melt`: see `sld.api.curves.CurveOptions`.

    Returns:
        The law: `at(schedule, step)` gives the loss and its interval under another schedule.

    Raises:
        UsageError: There is neither a learning rate nor a schedule, or the rate never falls.
        DataError: A column is missing or a cell is no number.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> from sld.analysis.curves.schedules import Rates, read_schedule
        >>> cosine, wsd = (read_schedule(f"{kind}:peak=3e-4,warmup=200,total=8000") for kind in ("cosine", "wsd"))
        >>> step = np.arange(300, 8001, 50.0)
        >>> def loss(schedule):
        ...     rates = Rates.of(schedule)
        ...     return 2.6 + 0.5 * rates.forward(step) ** -0.5 - 0.4 * rates.annealing(step, 0.999)
        >>> law = sld.curve_law({"step": step, "loss": loss(cosine)}, target="loss", step="step", law="annealing",
        ...                     schedule=cosine.text())
        >>> foretold = law.at(wsd, step)
        >>> bool(np.abs(foretold.value - loss(wsd)).max() < 0.01)
        True
    """
    from sld.analysis.curves.annealing import LAWS
    from sld.analysis.curves.curve_law import fit_curve_law

    if law != "auto" and law not in LAWS:
        raise UsageError(f"law: {suggest(law, (*LAWS, 'auto'), kind='law of curves')}")
    if not 0 <= skip < 1:
        raise UsageError(f"skip is a share of each run, at least 0 and below 1, got {exact(skip)}")
    if options.get("lr") is None and options.get("schedule") is None:
        raise UsageError(
            "a law of curves needs the learning rate: name its column (lr), or the schedule, e.g. cosine:warmup=500; "
            "to continue runs without one, say until where"
        )
    runs, notes, sizes = _observed(data, target, step, size, skip, options)
    return fit_curve_law(runs, law, target=target, step=step, sizes=sizes, notes=notes)


def _read(
    data: object, target: str, step: str, until: float | str | None, options: CurveOptions, cooled: str | None = None
) -> tuple[list[Curve], dict[str, float], list[str]]:
    """Return the runs, where each ends, and what was noticed; without checkpoints that a column marks as cooled."""
    from sld.analysis.curves.runs import read_curves, read_marks
    from sld.data.reading import column_names, prepared
    from sld.data.roles import listed

    filters = options.get("drop", ())
    run = listed(options.get("run") or ("run" if options.get("melt") else ()))
    source = prepared(data, drop=listed(filters), melt=options.get("melt", False), keep=[step], targets=[target])
    only = None if cooled is None else ~read_marks(source, cooled)
    curves, notes = read_curves(source, target=target, step=step, run=run, rate=options.get("lr"), only=only)
    if until is None:
        return curves, {}, notes
    if isinstance(until, str) and (until in column_names(source)):
        planned, _ = read_curves(source, target=until, step=step, run=run)
        ends = {c.name: float(c.y[-1]) for c in planned}
    else:
        ends = {c.name: _end_of(until, float(c.x[-1]), column_names(source)) for c in curves}
    return curves, ends, notes


def _cooled(data: object, target: str, step: str, options: EndOptions) -> dict[str, Curve] | None:
    """Return run to its cooled checkpoints; None where nothing is said of cooling."""
    from sld.analysis.curves.runs import read_curves, read_marks
    from sld.data.reading import prepared
    from sld.data.roles import listed

    column = options.get("cooled")
    if column is None:
        return None
    for other in ("lr", "schedule"):
        if options.get(other) is not None:
            raise UsageError(f"cooled goes with a trunk whose rate is constant; leave {other} out")
    source = prepared(data, drop=listed(options.get("drop", ())), keep=[step], targets=[target])
    marked = read_marks(source, column)
    if not marked.any():
        raise UsageError(f"column {column!r} marks no row as cooled; leave it out, or mark those that were")
    found, _ = read_curves(source, target=target, step=step, run=listed(options.get("run") or ()), only=marked)
    return {c.name: c for c in found}


def _parents(data: object, target: str, step: str, options: EndOptions) -> dict[str, str]:
    """Return run to the run that it branched from, for those that did."""
    from sld.analysis.curves.runs import label_of_runs
    from sld.data.reading import prepared
    from sld.data.roles import listed

    column = options.get("trunk")
    if column is None:
        return {}
    run = listed(options.get("run") or ())
    if len(run) != 1:
        raise UsageError("trunk names runs, so one column has to tell them apart (run)")
    source = prepared(data, drop=listed(options.get("drop", ())), keep=[step], targets=[target])
    return {name: of for name, of in label_of_runs(source, column, run).items() if of != name}


def _cost(data: object, target: str, step: str, options: EndOptions, parents: Mapping[str, str]) -> Cost | None:
    """Return what the runs cost; None where nothing is said of trunks."""
    from sld.analysis.curves.runs import read_curves
    from sld.analysis.curves.trunks import cost_of
    from sld.data.reading import prepared
    from sld.data.roles import listed

    if options.get("trunk") is None:
        return None
    source = prepared(data, drop=listed(options.get("drop", ())), keep=[step], targets=[target])
    return cost_of(read_curves(source, target=target, step=step, run=listed(options.get("run") or ()))[0], parents)


def _larger(
    data: object,
    target: str,
    step: str,
    found: Mapping[str, Mixture],
    options: EndOptions,
    how: tuple[Asked, Mapping[str, float]],
) -> tuple[tuple[Larger, ...], list[str]]:
    """Return the ends of runs of other sizes, as asked for, and what is to be said of them."""
    from sld.analysis.curves.across import across_sizes
    from sld.analysis.curves.runs import label_of_runs
    from sld.data.numbers import number
    from sld.data.reading import prepared
    from sld.data.roles import listed

    wanted = options.get("larger")
    if not wanted:
        return (), []
    if len(wanted) > 1:
        raise UsageError(f"larger names one column of sizes, got {' and '.join(wanted)}")
    ((column, sizes),) = wanted.items()
    run = listed(options.get("run") or ("run" if options.get("melt") else ()))
    source = prepared(data, drop=listed(options.get("drop", ())), melt=options.get("melt", False), targets=[target])
    try:
        of = {name: number(text) for name, text in label_of_runs(source, column, run).items()}
    except ValueError as error:
        raise UsageError(f"larger: {column!r} is no number for every run: {error}") from error
    if lacking := [name for name in found if name not in of]:
        raise UsageError(f"larger: {column!r} is empty for run {lacking[0]!r}")
    asked, ends = how
    rising = asked.better == "higher"
    more = across_sizes(of, found, sizes, column=column, level=asked.level, rising=rising, seed=asked.seed)
    said = []
    if len(set(ends.values())) > 1:
        said.append(
            f"the runs end at different {step}: what is told of other sizes is of runs whose length follows theirs"
        )
    beyond = [exact(m.size) for m in more if m.size > m.horizon * (1 + 1e-9)]
    if beyond:
        said.append(
            f"nothing is promised beyond {column} = {exact(more[0].horizon)}, and {', '.join(beyond)} lies there"
        )
    return tuple(more), said


def _end_of(until: float | str, last: float, columns: Sequence[str]) -> float:
    from sld.data.numbers import number

    try:
        if isinstance(until, str) and until.strip().lower().endswith("x"):
            end = float(until.strip()[:-1]) * last
        else:
            end = number(until) if isinstance(until, str) else float(until)
    except ValueError:
        wanted = "a number, a multiple such as 10x, or a column"
        raise UsageError(f"until wants {wanted}: {suggest(str(until), columns, kind='column')}") from None
    if not 0 < end < float("inf"):
        raise UsageError(f"until must be above 0, got {until}")
    return end


def _words(options: CurveOptions, run: str) -> str | None:
    schedule = options.get("schedule")
    if schedule is None or isinstance(schedule, str):
        return schedule
    if run in schedule:
        return schedule[run]
    raise UsageError(f"schedule: no words for run {run!r}; name one for each run, or one for all")


def _rates_to(
    curves: Sequence[Curve], ends: dict[str, float], options: CurveOptions
) -> tuple[dict[str, Rates] | None, str]:
    """Return the rates of each run up to its end, and the schedule in words; fills in ends that schedules give."""
    from sld.analysis.curves.finals import guessed_schedule
    from sld.analysis.curves.schedules import Rates, read_schedule

    rates, said = {}, []
    for c in curves:
        words = _words(options, c.name)
        if words is not None:
            schedule = read_schedule(words, ends.get(c.name))
            ends.setdefault(c.name, schedule.total)
        elif c.name not in ends:
            raise UsageError(
                "say where the runs end: until (a number of steps, 10x, or a column), or total=... in a schedule"
            )
        elif c.rate is not None:
            guess = guessed_schedule(c, ends[c.name])
            if guess is None:
                raise UsageError(
                    f"the learning rate of run {c.name!r} so far is none of the schedules that are known up to "
                    f"{exact(ends[c.name])}: name it (schedule), or leave the column of the rate out"
                )
            schedule = guess
        else:
            continue
        rates[c.name] = Rates.of(schedule)
        said.append(schedule.text())
    return (rates, said[0] if len(set(said)) == 1 else f"{said[0]} and others") if rates else (None, "")


def _observed(
    data: object, target: str, step: str, size: str | None, skip: float, options: CurveOptions
) -> tuple[list[Observed], list[str], tuple[str, ...]]:
    """Return the runs as a law of curves takes them, what was noticed, and the names of the sizes."""
    from sld.analysis.curves.annealing import observe
    from sld.analysis.curves.runs import ONE
    from sld.analysis.curves.schedules import Rates, read_schedule
    from sld.data.reading import prepared, read_columns
    from sld.data.roles import listed

    curves, _, notes = _read(data, target, step, None, options)
    of: dict[str, str] = {}
    if size is not None:
        run = listed(options.get("run") or ("run" if options.get("melt") else ()))
        source = prepared(data, drop=listed(options.get("drop", ())), melt=options.get("melt", False), targets=[target])
        labels = read_columns(source, [], size)
        names = [ONE] * labels.n_rows
        if run:
            runs = read_columns(source, [], run[0])
            names = [runs.labels[i] for i in runs.label_index]
        for name, i in zip(names, labels.label_index, strict=True):
            if of.setdefault(name, labels.labels[i]) != labels.labels[i]:
                raise UsageError(f"run {name!r} has more than one {size}: {of[name]} and {labels.labels[i]}")
    sizes = tuple(dict.fromkeys(of.get(c.name, "all") for c in curves))
    found = []
    for c in curves:
        words = _words(options, c.name)
        if words is not None:
            rates = Rates.of(read_schedule(words, float(c.x[-1])))
        else:
            assert c.rate is not None
            rates = Rates.from_column(c.x, c.rate)
        found.append(observe(c, rates, sizes.index(of.get(c.name, "all")), skip))
    return found, notes, sizes
