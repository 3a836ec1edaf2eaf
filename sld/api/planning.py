"""Which runs to pay for next: the verb behind `sld next`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sld.api.laws import as_law
from sld.api.next_options import NextOptions, Question, offer_of, question_of, wish_of
from sld.api.options import columns_of
from sld.api.tasks import as_task, is_table_file
from sld.core.arguments import checked
from sld.core.errors import UsageError, suggest
from sld.core.numbers import exact, short

if TYPE_CHECKING:
    from sld.analysis.decisions.allocation import Allocator
    from sld.analysis.decisions.asked import Side
    from sld.analysis.decisions.belief import Answer, Parts
    from sld.analysis.decisions.candidates import Candidates
    from sld.analysis.decisions.cost import Cost
    from sld.analysis.decisions.design import DesignCheck
    from sld.analysis.decisions.next_runs import NextRuns, Wish
    from sld.core.arrays import Array
    from sld.data.table import Table
    from sld.laws.law import Law

SEARCH = "3000fits"  # of a bare table's quick law: seconds, and enough for a form to plan with
_FIRST_LAW = "chinchilla"  # whose published constants a plan rests on where there are no runs


@checked()
def next_runs(
    data: object = None,
    budget: float | None = None,
    goal: str | Mapping[str, float] | Sequence[Mapping[str, float]] | None = None,
    **options: Unpack[NextOptions],
) -> NextRuns:
    r"""Return which runs to pay for next, in order, with what each is expected to do to the interval asked for.

    With $f$ the curve, $a$ what is asked (a prediction, the best run for a budget, an exponent, a difference of two
    laws), and everything that is believed of them from refits, rivals and what no form says, a run at $x$ takes

    $$ \frac{\operatorname{Cov}(a, f(x))^2}{\operatorname{Var} f(x) + \sigma^2(x)} $$

    from the variance of $a$. Runs are chosen for the most of that for their cost, one step ahead, then exchanged; a
    share of the budget fills places where nothing is known. The sum of what is taken is what the plan states.

    Args:
        data: A run folder, law.json or Law; a task or a bare table (with `target`, `scale`, ...), which gets a quick
            law first; a published law by name, or None, for a first design where there are no runs.
        budget: What the runs may cost together, in the unit of the cost (FLOP for 6ND).
        goal: "allocation", "comparison" or "exponents"; or the point(s) to predict as symbol to value. If not given,
            a run ten times as large as the largest, in every scale variable.
        **options: See `NextOptions`.

    Returns:
        The plan. Where `until` is met already it has no runs and `done` is true.

    Raises:
        UsageError: What is asked cannot be answered by this law, or no candidate can be paid for.
        SldError: The law has no best run for the budget in question, or a quick law could not be fitted.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e8, 4), np.geomspace(1e8, 1e10, 4)))
        >>> noise = 1 + 0.003 * np.sin(np.arange(16) * 7.0)
        >>> runs = {"N": N, "D": D, "loss": (1.7 + 400 * N**-0.34 + 900 * D**-0.3) * noise}
        >>> law = sld.fit(runs, "E + A*N**-a + B*D**-b", target="loss", scale=["N", "D"], starts=8)
        >>> plan = sld.next_runs(law, 2e19, "allocation", at=1e22, grid="N=1e7:1e9:6,D=5N:500N:5", runs=5)
        >>> len(plan.runs) <= 5 and plan.spent <= 2e19
        True
        >>> plan.asked[0].expected < plan.asked[0].width
        True

        A first design, where there are no runs:

        >>> plan = sld.next_runs(None, 1e20, "allocation", at=1e22, runs=12)
        >>> len({round(run.point["D"] / run.point["N"]) for run in plan.runs}) >= 3
        True
    """
    asked = question_of(goal, options)
    if budget is None or not (math.isfinite(budget) and budget > 0):
        raise UsageError(f"next needs a budget above 0, in the unit of the cost, got {budget}")
    wish = wish_of(float(budget), options)
    law, table = _law_and_rows(data, options)
    if law is None or law.intervals is None:
        if law is not None and "published" not in law.provenance:
            raise UsageError("this law carries no intervals, so nothing says where it may be off; fit it again")
        return _first(law, asked, wish, options)
    return _planned(law, table, asked, wish, options)


@checked()
def check_design(data: object, **options: Unpack[NextOptions]) -> DesignCheck:
    """Return what the runs that there are can and cannot tell, and the cheapest runs that would mend it.

    Args:
        data: A task or a bare table (with `target`, `scale`, ...); or a law, with its runs as `rows`.
        **options: `law`, `search`, `rows`, `cost`, `settings`, `grid`, `candidates`, `of`, `only`, `seed`; see
            `NextOptions`.

    Returns:
        How each variable was varied, condition numbers, repeats, what the runs know of each constant, and runs that
        would help: as numbers, and in `words`.

    Raises:
        UsageError: There are no rows to look at.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N = np.geomspace(1e6, 1e9, 8)
        >>> runs = {"N": N, "D": 20 * N, "loss": 1.7 + 400 * N**-0.34 + 900 * (20 * N)**-0.3}
        >>> found = sld.check_design(runs, target="loss", scale=["N", "D"], law="E + A*N**-a + B*D**-b")
        >>> found.ratios
        1
        >>> "size and data cannot be told apart" in found.summary()
        True
    """
    from sld.analysis.decisions.design import checked
    from sld.analysis.decisions.offers import candidates_of, ends_of

    law, table = _law_and_rows(data, options)
    if law is None or table is None:
        raise UsageError("a design check needs the runs: a table or task, or a law with its table as rows (--rows)")
    cost, notes = _cost(law, options, required=False)
    target, groups = _target(law, options), _groups(law, options)
    sides = {g: _side(g, law, target, g) for g in groups}
    candidates = None
    if cost is not None:
        ends = ends_of(law, table)
        candidates = candidates_of(law, tuple(sides), cost, offer_of(options), ends)[0]
    return checked(law, table, sides, candidates, cost.formula if cost is not None else "", notes)


# --- the law --------------------------------------------------------------------------------------------------------


def _law_and_rows(data: object, options: NextOptions) -> tuple[Law | None, Table | None]:
    """Return the law to plan with, and the runs that there are."""
    from sld.laws.law import LAW_FILE, Law

    if data is None:
        return None, None
    rows: Table | None = getattr(data, "table", None)  # of a discovery
    is_law = isinstance(data, Law) or isinstance(getattr(data, "law", None), Law)
    if isinstance(data, str | Path) and not columns_of(options):
        path = Path(data)
        # a table of that type has its columns named
        is_law = path.suffix == ".json" or (path / LAW_FILE).is_file()
        is_law = is_law or (not path.exists() and not _is_task(str(data)))
    if is_law:
        for name in ("law", "search"):
            if name in options:
                raise UsageError(f"{name} is for a table; this is a law already")
        law = as_law(data)
        given = options.get("rows")
        if given is not None:
            return law, _rows_of(law, given)
        if rows is None and isinstance(data, str | Path) and Path(data).is_dir():
            rows = _rows_in(Path(data), law)
        return law, _rows_behind(law) if rows is None else rows
    return _quick_law(data, options)


def _is_task(name: str) -> bool:
    from sld.data.bundled import named_tasks

    return name in named_tasks()


def _rows_in(folder: Path, law: Law) -> Table | None:
    """Return the rows that a run folder was searched on; None for a folder that keeps none, or of another law."""
    from sld.api.runs import run_and_task
    from sld.core.errors import SldError

    try:
        found, _ = run_and_task(folder)
    except SldError:  # a fit, or a search of an earlier version
        return None
    alike = {v.symbol for v in law.variables} <= {v.symbol for v in found.table.variables}
    return found.table if alike else None


def _rows_behind(law: Law) -> Table | None:
    """Return the rows of the task that a law says it was fitted to, where that is known here and still the same."""
    from sld.analysis.decisions.surface import seen
    from sld.core.errors import DataError

    name = str(law.task.get("name", ""))
    if not _is_task(name):
        return None
    try:
        rows = as_task(name).train
        columns = {v.symbol: rows.column(v.symbol) for v in law.variables}
    except (DataError, UsageError):  # somebody has changed it
        return None
    known = seen(law)
    alike = all(
        math.isclose(known[s][0], float(x.min()), rel_tol=1e-5)
        and math.isclose(known[s][1], float(x.max()), rel_tol=1e-5)
        for s, x in columns.items()
        if s in known
    )
    return rows if known and alike else None


def _rows_of(law: Law, rows: object) -> Table:
    from sld.data.table import Table, read_points
    from sld.data.task import Task

    if isinstance(rows, Table):
        return rows
    if isinstance(rows, Task) or (isinstance(rows, str | Path) and not is_table_file(rows)):
        rows = as_task(rows).train
    return read_points(rows, law.variables, law.group_column)


def _quick_law(data: object, options: NextOptions) -> tuple[Law, Table]:
    """Return the law of a table: a form that was named, or what a short search finds."""
    from sld.api.discovery import discover
    from sld.api.fitting import fit

    task = as_task(data, **columns_of(options))
    seed = options.get("seed", 0)
    if (form := options.get("law")) is not None:
        return fit(task, form, seed=seed), task.train.canonical()
    found = discover(task, seed=seed, budget=options.get("search", SEARCH), workers=1)
    return found.law, found.table


def _target(law: Law, options: NextOptions) -> str:
    columns = [t.column for t in law.targets]
    of = options.get("of")
    if of is None and len(columns) > 1:
        raise UsageError(f"the law has targets {', '.join(columns)}; name the one that is asked about (--of)")
    if of is not None and of not in columns:
        raise UsageError(suggest(of, columns, kind="target"))
    return columns[0] if of is None else of


def _groups(law: Law, options: NextOptions) -> list[str]:
    only = options.get("only")
    if only is not None and only not in law.groups:
        raise UsageError(suggest(only, law.groups, kind="group"))
    return [only] if only is not None else list(law.groups)


def _side(name: str, law: Law, target: str, group: str) -> Side:
    from sld.analysis.decisions.asked import Side

    return Side(name, law, target, group)


def _cost(law: Law, options: NextOptions, *, required: bool = True) -> tuple[Cost | None, list[str]]:
    """Return the cost over a law's variables, or None where that of a pool names its columns."""
    from sld.analysis.decisions.cost import cost_of
    from sld.analysis.decisions.surface import seen

    ends = {s: high for s, (_, high) in seen(law).items()}
    try:
        cost = cost_of(options.get("cost"), law.variables, settings=options.get("settings"), ends=ends)
    except UsageError:
        pooled = options.get("pool") is not None or options.get("candidates") is not None
        if (pooled and options.get("cost") is not None) or not required:
            return None, []
        raise
    return cost, ["assumed: " + ", ".join(f"{s} = {exact(x)}" for s, x in cost.assumed.items())] if cost.assumed else []


# --- the plan -------------------------------------------------------------------------------------------------------


def _planned(law: Law, table: Table | None, asked: Question, wish: Wish, options: NextOptions) -> NextRuns:
    """Return the plan beside a law with intervals."""
    from sld.analysis.decisions.belief import Parts
    from sld.analysis.decisions.next_runs import NextRuns, asked_places, belief_of, fitted_rows, planned
    from sld.analysis.decisions.offers import candidates_of, ends_of

    target = _target(law, options)
    sides = _sides(law, target, asked, options)
    cost, notes = _cost(law, options)
    points, said = _asked_points(law, table, asked, options)
    notes = [*law.notes, *notes, *said]
    ends = ends_of(law, table)
    candidates, more = candidates_of(law, tuple(sides), cost, offer_of(options), ends)
    candidates = candidates.within(wish.budget, options.get("minimum"), options.get("maximum"))
    parts = Parts(law.variables, ends_of(law, table, points, candidates.columns))
    for side in sides.values():
        parts.part(side.law, side.target, side.group)
    answers = _answers(parts, sides, asked, points, options)
    belief = belief_of(parts, sides, candidates, answers)
    place, known = _where(parts, sides, candidates, table)
    order = {parts.part(s.law, s.target, s.group).number: k for k, s in enumerate(sides.values())}
    near = asked_places(answers, order, len(sides))
    _, found, runs = planned(belief, candidates, place, known, wish, near, fitted_rows(sides.values()))
    unit = cost.unit if cost is not None else str(options.get("cost"))
    formula = cost.formula if cost is not None else str(options.get("cost"))
    reached = None if wish.until is None else max(a.expected for a in found) <= wish.until
    notes += [*more, *_cautions(sides)]
    if asked.goal == "comparison" and options.get("against") is not None:
        notes.append("A is the first law, B the one that it is compared with; a run of A follows A's recipe")
    if table is None:
        notes.append("the runs behind the law are not at hand, only what they span; give them (--rows) to fill gaps")
    if not runs and not reached:
        notes.append("no candidate teaches anything about what was asked within the budget")
    texts = dict.fromkeys(s.law.text(s.target) for s in sides.values())
    return NextRuns(
        asked.goal, "\n".join(texts), found, runs, wish.budget, unit, formula, candidates.n, wish.until, reached,
        tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _sides(law: Law, target: str, asked: Question, options: NextOptions) -> dict[str, Side]:
    """Return what runs can be of: the groups of a law, or the two laws of a comparison."""
    against, between = options.get("against"), options.get("between")
    if asked.goal != "comparison":
        if against is not None or between is not None:
            raise UsageError("against and between are for the goal comparison (--for comparison)")
        return {g: _side(g, law, target, g) for g in _groups(law, options)}
    if (against is None) == (between is None):
        raise UsageError("a comparison is against another law (--against LAW), or between two groups (--between A,B)")
    if between is not None:
        if len(between) != 2 or between[0] == between[1]:
            raise UsageError(f"a comparison is between two groups, got {', '.join(between)}")
        for group in between:
            if group not in law.groups:
                raise UsageError(suggest(group, law.groups, kind="group"))
        return {g: _side(g, law, target, g) for g in between}
    other = as_law(against)
    if other.intervals is None:
        raise UsageError("the law to compare with carries no intervals, so nothing says where it may be off")
    if {v.symbol for v in other.variables} != {v.symbol for v in law.variables}:
        raise UsageError("the two laws of a comparison must have the same variables")
    for one in (law, other):
        if len(one.groups) > 1:
            raise UsageError("laws to compare have one group each; compare groups of one law with between (--between)")
    if target not in [t.column for t in other.targets]:
        raise UsageError(f"the law to compare with does not predict {target!r}")
    return {"A": _side("A", law, target, law.groups[0]), "B": _side("B", other, target, other.groups[0])}


def _asked_points(
    law: Law, table: Table | None, asked: Question, options: NextOptions
) -> tuple[dict[str, Array], list[str]]:
    """Return the columns of the points that are asked about, empty where none is."""
    import numpy as np

    from sld.analysis.decisions.offers import TEN_TIMES, ends_of

    if asked.goal in ("allocation", "exponents") or asked.at:
        return {}, []
    symbols = [v.symbol for v in law.variables]
    ends = ends_of(law, table)
    notes: list[str] = []
    points = [dict(p) for p in asked.points]
    if not points:
        largest = {
            v.symbol: TEN_TIMES * ends[v.symbol][1] if v.log is None else ends[v.symbol][1] + v.units_per_decade
            for v in law.variables
            if v.role == "scale"
        }
        points = [largest]
        notes.append("nothing was asked for by name: the run ten times the largest one, in every scale variable")
    for point in points:
        for name, value in point.items():
            if name not in symbols:
                raise UsageError(suggest(name, symbols, kind="variable"))
            if not math.isfinite(value):
                raise UsageError(f"a point has finite numbers, got {name}={exact(value)}")
        for v in law.variables:
            if v.symbol in point:
                continue
            if v.role == "scale" and v.symbol in law.used_variables:
                raise UsageError(f"the point names no {v.symbol}; say {', '.join(f'{s}=...' for s in symbols)}")
            low, high = ends[v.symbol]
            middle = math.sqrt(low * high) if low > 0 and v.log is None else 0.5 * (low + high)
            point[v.symbol] = options.get("fixed", {}).get(v.symbol, middle)
    return {s: np.array([p[s] for p in points]) for s in symbols}, notes


def _answers(
    parts: Parts, sides: Mapping[str, Side], asked: Question, points: Mapping[str, Array], options: NextOptions
) -> list[Answer]:
    """Return what is asked, as linear functions of what is believed."""
    from sld.analysis.decisions.asked import at_best, differences, exponents, optima, prediction

    if asked.goal == "comparison":
        a, b = sides.values()
        if asked.at:
            first = [at_best(parts, a, _allocator(a, options), x) for x in asked.at]
            second = [at_best(parts, b, _allocator(b, options), x) for x in asked.at]
        else:
            first, second = prediction(parts, a, points), prediction(parts, b, points)
        return differences(first, second, (a.name, b.name))
    found: list[Answer] = []
    for side in sides.values():
        if asked.goal == "points":
            found += prediction(parts, side, points)
        elif asked.goal == "exponents":
            found += exponents(parts, side)
        else:
            allocator = _allocator(side, options)
            for budget in asked.at:
                found += optima(parts, side, allocator, budget)
    return found


def _allocator(side: Side, options: NextOptions) -> Allocator:
    """Return what finds best runs of a side; hyperparameters are at their best, or at what they are fixed to."""
    from sld.analysis.decisions.allocation import Allocator, Question
    from sld.analysis.decisions.surface import surface_of

    surface = surface_of(side.law, target=side.target, group=side.group, n=500, seed=options.get("seed", 0))
    used = set(side.law.expressions[side.target].used_variables)
    cost, _ = _cost(side.law, options)
    if cost is None:
        raise UsageError("best runs are found on surfaces of equal cost: the cost has to be one over the variables")
    held = {s: float(x) for s, x in options.get("fixed", {}).items() if s in used | cost.uses}
    return Allocator(surface, cost, Question(held))


def _where(parts: Parts, sides: Mapping[str, Side], candidates: Candidates, table: Table | None) -> tuple[Array, Array]:
    """Return where candidates and runs that there are lie, for filling what is empty."""
    import itertools

    import numpy as np

    from sld.analysis.decisions.next_runs import places
    from sld.analysis.decisions.surface import seen

    names = candidates.groups
    columns: dict[str, list[float]] = {v.symbol: [] for v in parts.variables}
    index: list[int] = []
    for g, name in enumerate(names):
        side = sides[name]
        if table is not None:
            own = np.ones(table.n_rows, dtype=bool)
            if side.law.grouped:
                own = np.array([table.groups[k] == side.group for k in table.group_index], dtype=bool)
            rows = {s: table.column(s)[own].tolist() for s in columns}
        else:
            ends = {s: e for s, e in seen(side.law, side.group).items() if s in columns}
            corners = list(itertools.product(*(ends.get(s, (1.0, 1.0)) for s in columns)))[:16]
            rows = {s: [c[i] for c in corners] for i, s in enumerate(columns)}
        for s, x in rows.items():
            columns[s].extend(x)
        index += [g] * len(next(iter(rows.values())))
    together = {s: np.concatenate([candidates.columns[s], np.array(x)]) for s, x in columns.items()}
    groups = np.concatenate([candidates.group_index, np.array(index, dtype=np.intp)])
    where = places(parts, together, groups, len(names))
    return where[: candidates.n], where[candidates.n :]


def _cautions(sides: Mapping[str, Side]) -> list[str]:
    """Return what the searches behind the laws say against them."""
    from sld.analysis.decisions.surface import limits

    found = []
    for side in sides.values():
        if against := limits(side.law, side.group).against:
            found.append(f"the law itself is doubtful ({against}): what a run is expected to do may be far off")
    return found


# --- no runs yet ----------------------------------------------------------------------------------------------------


def _first(law: Law | None, asked: Question, wish: Wish, options: NextOptions) -> NextRuns:
    """Return a first design, from published constants."""
    import numpy as np

    from sld.analysis.decisions import first_design as first
    from sld.analysis.decisions.next_runs import NextRuns, planned
    from sld.analysis.decisions.offers import candidates_of
    from sld.laws.catalogue import get_law
    from sld.laws.published import published_law

    if asked.goal == "comparison":
        raise UsageError("a comparison needs two laws with runs behind them; plan a first design for each")
    published = get_law(str(law.provenance["published"]["id"]) if law is not None else _FIRST_LAW)
    law = law or published_law(published)
    cost, notes = _cost(law, options)
    assert cost is not None
    noise = options.get("noise", first.NOISE)
    if not (math.isfinite(noise) and noise > 0):
        raise UsageError(f"noise is the relative spread of runs, above 0, got {exact(noise)}")
    fixed = {s: float(x) for s, x in options.get("fixed", {}).items()}
    if options.get("pool") is not None or options.get("candidates") is not None:
        raise UsageError("a first design takes its runs from a grid (--grid)")
    groups = ("all",)
    if options.get("grid") is not None:
        domain = law.provenance.get("domain", {})
        ends = {s: (float(low), float(high)) for s, (low, high) in domain.items()}
        candidates, said = candidates_of(law, groups, cost, offer_of(options), ends)
        notes += said
    else:
        candidates = first.designs(law.variables, cost, wish.budget, fixed, groups)
        candidates = replace(candidates, most=options.get("repeats", 2))
    candidates = candidates.within(wish.budget, options.get("minimum"), options.get("maximum"))
    middle = {s: float(np.exp(np.log(np.maximum(x, 1e-300)).mean())) for s, x in candidates.columns.items()}
    sets = first.complete_sets(published) or [law.constants[law.targets[0].column]["all"]]
    prior = first.prior_of(law, sets, middle, seed=options.get("seed", 0))
    belief, _ = first.believed(prior, candidates, _asks(law, asked, cost, options), noise)
    place = np.column_stack([
        np.log(np.maximum(x, 1e-300)) / max(float(np.ptp(np.log(np.maximum(x, 1e-300)))), 1e-9)
        for x in candidates.columns.values()
    ])  # fmt: skip
    # more filling where what the prior says would put all runs on a line
    for guard in (wish.guard, 0.3, 0.6, 1.0):
        _, found, runs = planned(belief, candidates, place, place[:0], replace(wish, guard=guard))
        if first.ratios_told_apart(law.variables, [r.point for r in runs]):
            break
    else:
        raise UsageError(
            f"the runs that could be made and paid for have not {first.LEAST_RATIOS} ratios of tokens to parameters "
            f"over a factor of {exact(first.LEAST_SPAN)}, and without these nothing is told apart; "
            "allow more runs or sizes"
        )
    reached = None if wish.until is None else max(a.expected for a in found) <= wish.until
    return NextRuns(
        asked.goal, law.text(), found, runs, wish.budget, cost.unit, cost.formula, candidates.n, wish.until, reached,
        (first.about(published.id, len(sets), noise), *notes),
    )  # fmt: skip


def _asks(law: Law, asked: Question, cost: Cost, options: NextOptions) -> list[Any]:
    """Return what is asked of every draw of a prior."""
    from sld.analysis.decisions.allocation import Allocator, Question
    from sld.analysis.decisions.first_design import Ask
    from sld.analysis.decisions.surface import surface_of
    from sld.laws.conditions import exponents_of

    target = law.targets[0].column
    symbols = [v.symbol for v in law.variables]
    if asked.goal == "exponents":
        return [Ask(c, False, constant=c) for c in exponents_of(law.expressions[target])]
    if asked.goal == "allocation":
        held = {s: float(x) for s, x in options.get("fixed", {}).items()}
        allocator = Allocator(surface_of(law, target=target, n=0), cost, Question(held))
        scale = [v.symbol for v in allocator.variables if v.role == "scale" and v.symbol not in held]
        return [Ask(f"best {s} for {short(b)}", True, best=(allocator, b, s)) for b in asked.at for s in scale]
    if not asked.points:
        raise UsageError("without runs say what shall be predicted (--for N=1e11,D=2e12), or --for allocation")
    found = []
    for point in asked.points:
        if lacking := [s for s in symbols if s not in point]:
            raise UsageError(f"the point names no {lacking[0]}; say {', '.join(f'{s}=...' for s in symbols)}")
        for s in point:
            if s not in symbols:
                raise UsageError(suggest(s, symbols, kind="variable"))
        where = ", ".join(f"{s} = {short(float(x))}" for s, x in point.items())
        found.append(Ask(f"{target} at {where}", False, point=point))
    return found
