"""Which of several laws or recipes wins, and from where on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sld.api.fitting import fit
from sld.api.laws import as_law
from sld.api.options import FormOptions, columns_of
from sld.api.tasks import as_task, is_table_file
from sld.core.arguments import checked
from sld.core.errors import UsageError, suggest
from sld.core.files import is_there
from sld.core.numbers import exact

if TYPE_CHECKING:
    from sld.analysis.decisions.comparison import Comparison
    from sld.analysis.decisions.cost import Cost
    from sld.analysis.decisions.curves import Curve
    from sld.analysis.decisions.exponents import ExponentTest
    from sld.analysis.decisions.tracks import Contender, Way
    from sld.data.table import Array, Table
    from sld.data.task import Task
    from sld.laws.law import Law


_LONGEST_NAME = 24  # letters; longer ones make tables and legends unreadable


@checked(renamed={"at": "given"}, explained=("law",))
def compare(
    *laws: object,
    by: str | None = None,
    law: str | Mapping[str, str] | None = None,
    given: Mapping[str, float] | None = None,
    between: tuple[float, float] | None = None,
    cost: str | None = None,
    setting: str | None = None,
    level: float = 0.9,
    seed: int = 0,
    **options: Unpack[FormOptions],
) -> Comparison:
    r"""Compare laws, or the recipes of one table, along compute: who is better, from where on, and worth how much.

    Each law is followed at its own optimum for a compute $C$ (or at a `setting` that all share), with joint draws of
    its uncertainty, and everything is computed draw by draw: the difference, the probability that one is better, where
    they cross, and the *multiplier* $m$ with

    $$ L_B(m\,C) = L_A(C) , $$

    how many times the compute B needs to equal A. Where $m$ stays the same with $C$ the lead is an offset; where it
    grows or falls, as $C^{\gamma}$, there is a slope $\gamma$.

    Args:
        *laws: Laws, run folders, files law.json, names of the catalogue or formulas; a mapping of names to these; one
            law with groups, which are then compared; or tables, a recipe each, to which one form is fitted; or, with
            `by`, one table or task.
        by: Column of the table that tells the recipes apart; each gets constants of its own.
        law: The form that is fitted to tables, as `sld.fit` takes it: a published one for two scale columns
            (`E + A*N**-alpha + B*D**-beta`), `E + A*x**-a` for one, if not given.
        given: What is settled, as in `sld.allocate`: column to the value at which it is held, such as a hyperparameter;
            and a ratio, `{"D/N": 20}`, at which all are compared instead of each at its own optimum.
        between: From which to which compute (or value of the one variable); from the smallest of the rows to a hundred
            times the largest if not given.
        cost: What a run costs, a formula or the name of a model; 6*N*D for laws in parameters and tokens.
        setting: Any other rule by which size and data share out the compute, e.g. "D=5*N**1.1" or "D=1e12".
        level: Of all intervals.
        seed: Of starting points and draws.
        **options: How the form is fitted, and the roles of a bare table's columns: `sld.api.options.FormOptions`.

    Returns:
        The comparison. `pairs` has every two with `places`, `crossings`, `offset` and `slope`; `best` and `switches`
        say who is best where; `exponents` whether one exponent serves all recipes of a table.

    Raises:
        UsageError: The laws have different targets or units, are fewer than two, or have variables that nobody holds.
        DataError: A table is not as it must be.
        SldError: A fit failed.

    Examples:
        >>> import sld
        >>> better = sld.compare("1.7 + 300*N**-0.34 + 410*D**-0.28", "1.7 + 400*N**-0.34 + 410*D**-0.28").only
        >>> round(better.offset.value, 2)
        2.33
        >>> crossing = sld.compare("1.7 + 300*C**-0.12", "1.7 + 900*C**-0.145", between=(1e18, 1e24)).only.crossings[0]
        >>> f"{crossing.at.value:.2e}"
        '1.22e+19'
    """
    from sld.analysis.decisions.comparison import check_units
    from sld.analysis.decisions.comparison import compare as compared

    if not 0.5 <= level < 1:
        raise UsageError(f"the level of intervals must be at least 0.5 and below 1, got {level:g}")
    held, setting = _settled(given or {}, setting)
    test: ExponentTest | None = None
    notes: Sequence[str] = ()
    if by is not None:
        if len(laws) != 1:
            raise UsageError(f"by names a column of one table, got {len(laws)} tables or laws beside it")
        task = _grouped(laws[0], by, columns_of(options))
        fitted = _fitted(task, law, options, seed)
        curves, notes = _groups(fitted, held), fitted.provenance.get("notes", ())
        test = _exponents(fitted, task.train, seed)
        rows = {c.name: task.train for c in curves}
    else:
        of_tables = _fits(_named(laws), law, options, seed)
        if not of_tables and (law is not None or set(options) - {"target"}):
            said = "law" if law is not None else next(iter(set(options) - {"target"}))
            raise UsageError(
                f"{said!r} is for tables: name two of them, or one with the column that tells recipes apart (--by COL)"
            )
        fits = {name: fitted for name, (fitted, _) in of_tables.items()}
        together = {name: fits.get(name, of) for name, of in _named(laws)} if fits else None
        curves = _curves([together] if together else laws, held, [] if together else _target(options))
        rows = {c.name: of_tables[name][1] for c in curves for name in fits if c.law is fits[name]}
    check_units(curves)
    contenders = [_contender(c, k, cost, seed, rows.get(c.name)) for k, c in enumerate(curves)]
    way = _way(contenders, setting)
    against = _uncomparable(curves)
    notes = [*notes, *_from_few_rows(curves)]
    return compared(contenders, way, between=between, level=level, exponents=test, warnings=against, notes=notes)


def _settled(given: Mapping[str, float], setting: str | None) -> tuple[dict[str, float], str | None]:
    """Return the variables that are held, and the rule by which the others share out the compute."""
    held = {name: float(value) for name, value in given.items() if "/" not in name}
    ratios = {name: float(value) for name, value in given.items() if "/" in name}
    if len(ratios) + (setting is not None) > 1:
        rules = [*ratios, *([] if setting is None else [setting])]
        raise UsageError(f"one rule shares out the compute, got {' and '.join(rules)}")
    for name, value in ratios.items():
        if not 0 < value < math.inf:
            raise UsageError(f"the ratio {name} must be a number above 0, got {exact(value)}")
        above, _, below = (part.strip() for part in name.partition("/"))
        setting = f"{above}={value:.12g}*{below}"
    return held, setting


def _target(options: Mapping[str, Any]) -> list[str | None]:
    from sld.data.roles import listed

    return [*listed(options.get("target", ()))]


def _grouped(data: object, by: str, columns: dict[str, Any]) -> Task:
    """Return the task whose groups are the recipes."""
    from sld.data.task import Task

    if columns.get("target"):
        if columns.get("group") not in (None, by):
            raise UsageError(
                f"recipes are told apart by {by!r}, so the table cannot be grouped by {columns['group']!r}"
            )
        task = as_task(data, **{**columns, "group": by})
    else:
        task = as_task(data)
        if task.train.group_column != by:
            has = f"by {task.train.group_column!r}" if task.train.group_column else "nowhere"
            raise UsageError(
                f"the rows of task {task.name} are grouped {has}; --by goes with a bare table or that column"
            )
    assert isinstance(task, Task)
    if len(task.train.targets) > 1:
        raise UsageError(f"a comparison has one target, got {', '.join(t.column for t in task.train.targets)}")
    if len(task.train.groups) < 2:
        raise UsageError(f"column {by!r} has one value, {task.train.groups[0]!r}: there is nothing to compare")
    return task


def _fitted(task: Task, law: str | Mapping[str, str] | None, options: FormOptions, seed: int) -> Law:
    how: dict[str, Any] = {k: v for k, v in options.items() if k not in columns_of(options)}
    if law is None:
        scales = [v.symbol for v in task.train.variables if v.role == "scale"]
        law = "chinchilla" if len(scales) > 1 else f"E + A*{scales[0]}**-a" if scales else ""
        if not law:
            raise UsageError("recipes are compared along a scale column: name one (--scale), or give a law (--law)")
    return fit(task, law, seed=seed, **how)


def _fits(
    named: Sequence[tuple[str, object]], law: str | Mapping[str, str] | None, options: FormOptions, seed: int
) -> dict[str, tuple[Law, Table]]:
    """Return the law of each table among what is compared, one form fitted to each, with its rows."""
    found = {}
    for name, data in named:
        if not _is_table(data):
            continue
        columns = columns_of(options)
        if not columns.get("target"):
            raise UsageError(f"{name} is a table: say what its columns are (--target, --scale)")
        if options.get("shared"):
            raise UsageError(
                "constants are shared by recipes of one table: put both into one, and name the column (by)"
            )
        task = as_task(data, **columns)
        found[name] = (_fitted(task, law, options, seed), task.train)
    return found


def _is_table(data: object) -> bool:
    """Whether something to compare is rows; a run folder and any JSON are a law."""
    if isinstance(data, str | Path):
        path = Path(data)
        try:
            there = path.exists() and path.suffix != ".json" and not (path / "law.json").exists()
        except (OSError, ValueError):  # too long for a file's name, as a formula may be
            return False
        return there and is_table_file(data)
    return isinstance(data, Mapping) or hasattr(data, "columns")


def _from_few_rows(curves: Sequence[Curve]) -> list[str]:
    """Say which laws rest on few rows and on what is known of other tables, and up to where they promise anything."""
    from sld.analysis.few_points import in_words, promised_by

    found = []
    for k, curve in enumerate(curves):
        promised = promised_by(getattr(curve.law, "provenance", {}))
        if promised is not None and all(curve.law is not other.law for other in curves[:k]):
            alone = all(curve.law is not other.law for other in curves[k + 1 :])
            of = f"{curve.name}: " if alone else ""
            found.append(of + "; ".join(in_words(promised)))
    return found


def _groups(law: Law, given: Mapping[str, float]) -> list[Curve]:
    from sld.analysis.decisions.curves import curve_of

    column = law.targets[0].column
    return [curve_of(law, name=_of_group(law, g), target=column, group=g, fixed=given) for g in law.groups]


def _of_group(law: Law, group: str) -> str:
    """Return what the curve of a group is called: a number alone says nothing."""
    try:
        float(group)
    except ValueError:
        return group
    return f"{law.group_column}={group}" if law.group_column else group


def _curves(laws: Sequence[object], given: Mapping[str, float], targets: Sequence[str | None]) -> list[Curve]:
    """Return a curve for each law, and for each group of a law that has several."""
    from sld.analysis.decisions.curves import curve_of

    named = _named(laws)
    if len(targets) not in (0, 1, len(named)):
        raise UsageError(f"name one target for all laws, or one for each of {len(named)}, got {len(targets)}")
    loaded = [as_law(of) for _, of in named]
    known = {x for of in loaded for v in of.variables for x in (v.column, v.symbol)}
    if unknown := [column for column in given if column not in known]:
        raise UsageError("given: " + suggest(unknown[0], sorted(known), kind="variable of these laws"))
    wanted = list(targets) * len(named) if len(targets) == 1 else list(targets) or [None] * len(named)
    found = []
    for (name, _), law, target in zip(named, loaded, wanted, strict=True):
        # what one law has not, another may have
        own = {c: x for c, x in given.items() if any(c in (v.column, v.symbol) for v in law.variables)}
        for group in law.groups:
            label = name if len(law.groups) == 1 else _of_group(law, group)
            label = f"{name} {label}" if len(law.groups) > 1 and len(named) > 1 else label
            found.append(curve_of(law, name=label, target=target, group=group, fixed=own))
    columns = {c.target.column for c in found}
    if len(columns) > 1 and not targets:
        first, other = found[0], next(c for c in found if c.target.column != found[0].target.column)
        raise UsageError(
            f"{first.name} predicts {first.target.column!r}, {other.name} predicts {other.target.column!r}; if these "
            f"are the same quantity, say so: --target {first.target.column},{other.target.column}"
        )
    if len(found) < 2:
        raise UsageError(
            "a comparison needs two laws or more, or one table with the column that tells its recipes apart (--by)"
        )
    return found


def _named(laws: Sequence[object]) -> list[tuple[str, object]]:
    """Return laws with what they are called: their names in a mapping, else the end of a path, else a letter."""
    if len(laws) == 1 and isinstance(laws[0], Mapping):
        return [(str(name), of) for name, of in laws[0].items()]
    names = [_name(of, k) for k, of in enumerate(laws)]
    full = [str(of) if Path(str(of)).name != n and "/" in str(of) else n for of, n in zip(laws, names, strict=True)]
    short = [n if names.count(n) == 1 else f for n, f in zip(names, full, strict=True)]
    return [
        (n if short.count(n) == 1 else f"{n} ({k + 1})", of) for k, (n, of) in enumerate(zip(short, laws, strict=True))
    ]


def _name(law: object, k: int) -> str:
    if not isinstance(law, str | Path):
        return chr(ord("A") + k % 26)
    path = Path(law)
    if not is_there(path):
        # a formula is no name; what it is stands beside the letter
        return (
            str(law) if len(str(law)) <= _LONGEST_NAME and not set("+*/(") & set(str(law)) else chr(ord("A") + k % 26)
        )
    own = path.resolve()
    return own.parent.name if own.name == "law.json" else own.name if own.is_dir() else own.stem


def _contender(curve: Curve, k: int, cost: str | None, seed: int, table: Table | None) -> Contender:
    """Return a curve ready to be compared, with its cost, its draws and its rows."""
    from sld.analysis.decisions.cost import cost_of
    from sld.analysis.decisions.tracks import contender

    model: Cost | None = None
    if len(curve.free) != 1:
        ends = {s: high for s, (_, high) in curve.ranges.items()}
        try:
            model = cost_of(cost, curve.free, ends=ends)
        except UsageError as error:
            raise UsageError(f"{curve.name}: {error}") from error
    # groups that share constants have joint draws; others are independent, and so is what their draws begin with
    joint = any(s.shared for s in curve.law.settings.values()) and curve.law.grouped
    own_seed = seed if joint else seed + k
    return contender(curve, model, own_seed, _spent(curve, model, table))


def _spent(curve: Curve, cost: Cost | None, table: Table | None) -> Array | None:
    import numpy as np

    if table is None or curve.group not in table.groups:
        return None
    own = table.of_group(curve.group)
    return np.asarray(own.column(curve.free[0].symbol) if cost is None else cost(own.inputs))


def _way(contenders: Sequence[Contender], setting: str | None) -> Way:
    """Return along what these laws can be compared."""
    from sld.analysis.decisions.tracks import Way, read_rule
    from sld.laws.catalogue import kind_of

    costly = [c for c in contenders if c.cost is not None]
    single = [c for c in contenders if c.cost is None]
    if setting is not None:
        if single:
            raise UsageError(f"{setting} shares out compute, and {single[0].curve.name} has one variable")
        for c in costly:
            read_rule(setting, c)
        return Way("settings", "C", setting)
    columns = {c.curve.free[0].column for c in single}
    kinds = {kind_of(c.curve.free[0]) for c in single}
    if costly and single and kinds != {"compute"}:
        raise UsageError(
            f"{costly[0].curve.name} is followed along compute, {single[0].curve.name} has "
            f"{', '.join(sorted(columns))} alone: compare laws over the same variables, or hold some with --given"
        )
    if not costly:
        if len(columns) > 1 and len(kinds) > 1:
            raise UsageError(f"the laws have different variables: {', '.join(sorted(columns))}")
        return Way("column", contenders[0].curve.free[0].column)
    return Way("optimum", "C")


def _exponents(law: Law, table: Table, seed: int) -> ExponentTest | None:
    """Return whether one exponent serves all recipes, as far as the rows allow to judge it."""
    from sld.analysis.decisions.exponents import shared_or_separate
    from sld.data.splits import rung_folds

    column = law.targets[0].column
    rows = table.canonical()
    try:
        folds = rung_folds(rows)
    except UsageError:
        return None
    return shared_or_separate(law.expressions[column], rows, folds, law.settings[column], seed=seed)


def _uncomparable(curves: Sequence[Curve]) -> list[str]:
    """Return what stands against comparing these laws as they are, in sentences: what their columns count."""
    from itertools import combinations

    from sld.laws.conventions import conventions_differ

    return [
        f"{one.name} and {other.name}: {sentence}"
        for one, other in combinations(curves, 2)
        if one.law is not other.law
        for sentence in conventions_differ(one.law, other.law)
    ]
