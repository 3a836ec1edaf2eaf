"""Benchmark scores of models of several families: laws that they share, and what a new family will score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from sld.core.arguments import checked
from sld.core.errors import DataError, UsageError, suggest
from sld.core.numbers import exact, short

if TYPE_CHECKING:
    from sld.analysis.families.forecast import Families
    from sld.analysis.families.scores import ScoreTable
    from sld.core.arrays import Array, Mask
    from sld.data.reading import Columns

_FAR = 10.0  # times the largest model: folds foretell models of a table, seldom a decade beyond all others
LAWS = ("one curve", "curve by family", "components", "skills")  # what `law` may ask for


class FamilyOptions(TypedDict, total=False):
    """What is known of the scores, which law is used, and what else is wanted.

    Attributes:
        better: "higher" (the default) or "lower".
        floor: Score of a model that knows nothing (chance): a number, or benchmark to number; found where not given.
        ceiling: Best possible score: 1 where scores lie between 0 and 1 (0 if lower is better), else to be given.
        law: "one curve", "curve by family", "components" or "skills"; the errors decide if not given.
        skills: Number of skills or components; the errors decide if not given.
        fill: Also foretell the scores that are missing in the table.
        level: Level of the intervals, 0.9 if not given.
        drop: Rows to leave out.
        progress: Called with what is being done, in words.
    """

    better: Literal["higher", "lower"]
    floor: float | Mapping[str, float | None] | None
    ceiling: float | None
    law: str | None
    skills: int | None
    fill: bool
    level: float
    drop: str | Sequence[str]
    progress: Callable[[str], None] | None


@checked()
def families(
    data: object,
    *,
    family: str,
    scale: str | Sequence[str],
    metric: str | Sequence[str],
    at: Mapping[str, float | str] | Sequence[Mapping[str, float | str]],
    seed: int = 0,
    **options: Unpack[FamilyOptions],
) -> Families:
    r"""Foretell benchmark scores from models of several families; of a new family one model is enough.

    Models of one family share data and recipe. All benchmarks measure a few skills: of model $i$ of family $f$

    $$ \theta_i = B \phi_i + A_f u_i + \delta_i , \qquad
       y_{ij} = c_j + (t_j - c_j)\, \sigma(b_j + \Lambda_j \cdot \theta_i)^{g} + \varepsilon_{ij} . $$

    *skills* has $\phi = (\log N, \log D, \log N \log D)$ and a level for each family (arXiv:2412.06540). *components*
    has skills that follow $\log C$, with a level and a slope for each family (arXiv:2405.10938). Beside them stand
    *curve by family* and *one curve*, for each benchmark alone. Each law foretells the larger models of families of
    which it knows the small ones. Of the laws that miss hardly more than the best, the one with the fewest constants is
    used. A family with one model takes its level from this one, and from how far families differ.

    Args:
        data: A table with a row for each model; scores may be missing (path, DataFrame, mapping of columns, records).
        family: Column of the family.
        scale: One or two columns, e.g. "C", or ["N", "D"].
        metric: Columns of scores, two or more.
        at: Models asked for: family and scales to value, or several of these; one without a family belongs to a new
            family of which no model is known.
        seed: Of the draws.
        **options: `better`, `floor`, `ceiling`, `law`, `skills`, `fill`, `level`, `drop`, `progress`: see
            `sld.api.families.FamilyOptions`.

    Returns:
        Scores with their intervals (of resampled models), the law that is used, and what the others miss by.

    Raises:
        UsageError: Too few models, families or benchmarks; no such family or option; a point lacks a scale.
        DataError: A column is missing, a cell is no number, or a score is not possible.

    Examples:
        >>> import numpy as np
        >>> import sld
        >>> N, family = np.tile([1e9, 3e9, 1e10], 4), np.repeat(["a", "b", "c", "d"], 3)
        >>> skill = np.log10(N / 3e9) + np.repeat([0.0, 0.3, -0.3, 0.6], 3)
        >>> models = {"family": family, "N": N, "quiz": 1 / (1 + np.exp(-skill)), "sums": 1 / (1 + np.exp(1 - skill))}
        >>> found = sld.families(
        ...     models, family="family", scale="N", metric=["quiz", "sums"], at={"family": "a", "N": 3e10}, floor=0.0
        ... )
        >>> [(s.benchmark, bool(abs(s.value - true) < 0.03)) for s, true in zip(found.scores, (0.731, 0.5))]
        [('quiz', True), ('sums', True)]
    """
    from sld.analysis.families.forecast import Question, foretell
    from sld.data.reading import prepared, read_columns
    from sld.data.roles import listed

    scales, metrics, level = listed(scale), listed(metric), options.get("level", 0.9)
    _check(family, scales, metrics, options)
    read = read_columns(prepared(data, drop=listed(options.get("drop", ()))), [*scales, *metrics], family)
    points = _points(at, family, scales, read)
    table, kept, ends, notes = _table(read, scales, metrics, options)
    numbers = {name: k for k, name in enumerate(table.family)}
    for name, _ in points:
        if name and not (table.index == numbers[name]).any():
            raise UsageError(f"{read.where}: family {name!r} has no model with a scale and a score")
    named = [read.row_name(int(i)) for i in kept] if options.get("fill", False) else []
    asked = Question(
        [numbers[name] if name else -1 for name, _ in points], _array([x for _, x in points]), scales, ends,
        named, options.get("law"), options.get("skills"), level,
    )  # fmt: skip
    notes += _far(points, table, scales)
    progress = options.get("progress")
    return foretell(table, asked, notes=notes, seed=seed, progress=progress or (lambda _: None))


def _far(points: Sequence[tuple[str, Sequence[float]]], table: ScoreTable, scales: Sequence[str]) -> list[str]:
    """Return a sentence for each point that lies far beyond all models."""
    found = []
    for name, values in points:
        times = math.exp(min(sum(map(math.log, values)) - float(table.compute.max()), 700.0))
        if times > _FAR:
            what = scales[0] if len(scales) == 1 else f"{' times '.join(scales)}"
            who = name or "the new family"
            found.append(
                f"{who}: {what} is {short(times)} times that of the largest model, where nothing tests the law"
            )
    return found


def _array(rows: Sequence[Sequence[float]]) -> Array:
    import numpy as np

    return np.array(rows, dtype=np.float64)


def _check(family: str, scales: Sequence[str], metrics: Sequence[str], options: FamilyOptions) -> None:
    if options.get("better", "higher") not in ("higher", "lower"):
        raise UsageError(f"better must be higher or lower, got {options.get('better')!r}")
    level = options.get("level", 0.9)
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, got {level:g}")
    if len(scales) not in (1, 2):
        raise UsageError(f"scale wants one or two columns, e.g. C or N,D; got {len(scales)}")
    named = [family, *scales, *metrics]
    doubled = [c for k, c in enumerate(named) if c in named[:k]]
    if doubled:
        raise UsageError(f"column {doubled[0]!r} is named twice (family, scale and metric must differ)")
    law, skills = options.get("law"), options.get("skills")
    if law is not None and law not in LAWS:
        raise UsageError(suggest(law, LAWS, kind="law of families"))
    if skills is not None and (skills != int(skills) or skills < 1 or skills > max(len(metrics), 1)):
        raise UsageError(f"skills is a whole number from 1 to the number of benchmarks ({len(metrics)}), got {skills}")
    if skills is not None and law in LAWS[:2]:
        raise UsageError(f"a number of skills is for the laws components and skills, not for {law!r}")


def _points(
    at: Mapping[str, float | str] | Sequence[Mapping[str, float | str]],
    family: str,
    scales: Sequence[str],
    read: Columns,
) -> list[tuple[str, list[float]]]:
    given = [at] if isinstance(at, Mapping) else list(at)
    if not given:
        raise UsageError(f"say whose scores are asked for: at, e.g. {family}=NAME,{scales[0]}=1e11")
    found = []
    for point in given:
        more = [s for s in point if s not in (*scales, family)]
        if more:
            raise UsageError(
                f"at: {more[0]!r} is neither the family nor a scale; there are {family}, {', '.join(scales)}"
            )
        values = []
        for s in scales:
            if s not in point:
                raise UsageError(f"at: a value of {s!r} is missing; every scale needs one")
            try:
                value = float(point[s])
            except (TypeError, ValueError):
                raise UsageError(f"at: {s} wants a number, got {point[s]!r}") from None
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"at: scales must be above 0, got {s}={exact(value)}")
            values.append(value)
        name = str(point.get(family, ""))
        if name and name not in read.labels:
            listing = f"leave {family} out for a family of which no model is known"
            raise UsageError(f"{read.where}: {suggest(name, read.labels, kind='family', listing=listing)}")
        found.append((name, values))
    return found


def _table(
    read: Columns, scales: Sequence[str], metrics: Sequence[str], options: FamilyOptions
) -> tuple[ScoreTable, Sequence[int], tuple[float, float], list[str]]:
    """Return the table, the rows that count, the worst and best possible score, and what was noticed."""
    import numpy as np

    from sld.analysis.families.scores import LEAST_SCORES, ScoreTable

    notes = list(read.notes)
    X = np.stack([read.values[s] for s in scales], axis=1)
    if not (X[np.isfinite(X)] > 0).all():
        raise DataError(f"{read.where}: scales must be above 0")
    whole = np.isfinite(X).all(1)
    Y = np.stack([read.values[c] for c in metrics], axis=1)
    Y = np.where(np.isfinite(Y), Y, np.nan)
    counts = np.isfinite(Y[whole]).sum(0)
    for name, count in zip(metrics, counts.tolist(), strict=True):
        if count < LEAST_SCORES:
            notes.append(f"{name} has {count} scores, fewer than {LEAST_SCORES}, and is left out")
    kept = [j for j, count in enumerate(counts.tolist()) if count >= LEAST_SCORES]
    Y = Y[:, kept]
    names = tuple(metrics[j] for j in kept)
    used: Mask = np.asarray(whole & np.isfinite(Y).any(1))
    if (~whole).any():
        notes.append(_left_out(int((~whole).sum()), " or ".join(scales)))
    if (whole & ~used).any():
        notes.append(_left_out(int((whole & ~used).sum()), "a score"))
    for name, values in zip(scales, X[used].T, strict=True):
        if used.any() and np.ptp(values) == 0:
            raise UsageError(
                f"{read.where}: {name} is the same for all models, so nothing says what it does; leave it out of scale"
            )
    worst, best = _ends(read.where, Y[used], options)
    share = (Y[used] - worst) / (best - worst)
    floor = _floors(names, (worst, best), options)
    table = ScoreTable(read.labels, read.label_index[used], np.log(X[used]), share, names, floor)
    return table, np.flatnonzero(used).tolist(), (worst, best), notes


def _left_out(n: int, lack: str) -> str:
    return f"{n} model{'s' if n > 1 else ''} without {lack} {'are' if n > 1 else 'is'} left out"


def _ends(where: str, Y: Array, options: FamilyOptions) -> tuple[float, float]:
    """Return the worst and the best possible score."""
    import numpy as np

    lower, ceiling = options.get("better") == "lower", options.get("ceiling")
    if ceiling is not None and not math.isfinite(ceiling):
        raise UsageError(f"ceiling is the best possible score, a number, got {ceiling}")
    if not np.isfinite(Y).any():
        return (1.0, 0.0) if lower else (0.0, 1.0)
    least, most = float(np.nanmin(Y)), float(np.nanmax(Y))
    if lower:
        best = 0.0 if ceiling is None else ceiling
        worst = 1.0 if most <= 1 else (100.0 if most <= 100 else math.inf)
        if math.isinf(worst):
            raise DataError(f"{where}: scores where lower is better must be shares or per cent, got {exact(most)}")
    else:
        worst = 0.0
        best = ceiling if ceiling is not None else 1.0
        if ceiling is None and most > 1:
            raise UsageError(f"{where}: scores reach {exact(most)}; say the best possible one: ceiling, e.g. 100")
    outside = [v for v in (least, most) if not min(worst, best) <= v <= max(worst, best)]
    if outside:
        raise DataError(
            f"{where}: scores must lie between {exact(worst)} and {exact(best)} (the best possible), got "
            f"{exact(outside[0])}"
        )
    return worst, best


def _floors(names: Sequence[str], ends: tuple[float, float], options: FamilyOptions) -> Array:
    """Return the floors as shares; NaN where they are to be found."""
    import numpy as np

    given = options.get("floor")
    if given is None:
        return np.full(len(names), np.nan)
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise UsageError(f"floor: {suggest(unknown[0], names, kind='benchmark')}")
    worst, best = ends
    of = [given.get(name, math.nan) if isinstance(given, Mapping) else given for name in names]
    shares = (np.array(of, dtype=float) - worst) / (best - worst)
    if not (np.isnan(shares) | ((shares >= 0) & (shares < 1))).all() or (
        not isinstance(given, Mapping) and not math.isfinite(given)
    ):
        raise UsageError(
            f"floor is the score of a guess, from {exact(worst)} to below the best possible {exact(best)}, got {given}"
        )
    return np.asarray(shares)
