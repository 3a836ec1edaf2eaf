"""Learn what the constants of laws are like from tables to build on, and write it to `sld/fit/priors.toml`.

    python bench/priors.py [--data DIR] [--write]

Every slice (`slices.py`) that falls is fitted with `A*x**-a` and with `E + A*x**-a`, every one that rises with the
latter, and every table of parameters and data with `E + A*N**-a + B*D**-b`, under priors so wide that they say little.
Mean and spread of each role over all tables follow by expectation and maximisation over these draws (empirical Bayes);
a table counts as three slices at most, however many it has. The exponents of a kind of column are drawn towards those
of all kinds, as if five slices stood behind these. An offset is taken as a share of the smallest of the first four
values, and noise is that of the first six, as where rows are few.
Then rows beyond the first 1 to 5 are foretold as far as the horizon: as many times the largest of these rows as that is
of the smallest, or four times. Each table has priors from the other four fifths of the tables; the spread of draws is
stretched until 90 % intervals hold 90 %. Only tables that `split.md` names to build on are read.
The tables under DIR (default: shared/data beside the repository) are not part of the project.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit
from slices import folders, slices, tables

from sld.core.arrays import Array
from sld.core.files import write_text_atomic
from sld.fit.posterior import TAILS, Problem, rises
from sld.fit.priors import FILE, ConstantPriors, Normal, PriorLibrary
from sld.fit.roles import KINDS, kind_of, roles_of
from sld.formula.expression import parse

HERE = Path(__file__).resolve().parent
WIDE: dict[str, Normal] = {"exponent": (-1.2, 1.2), "offset": (0.5, 2.5), "noise": (-4.0, 1.8), "term": (-1.5, 1.5)}
WEAK_TERM: Normal = (-1.0, 2.0)  # a single term follows from the level of the rows, which is seen
FORMS = {
    "power": "A*x**-a", "power with offset": "E + A*x**-a", "power to a ceiling": "E + A*x**-a",
    "sum": "E + A*x**-a + B*z**-b",
}  # fmt: skip
ROLES = ("exponent", "offset", "noise", "term")
DRAWS = 300
MOST_OF_TABLE = 3.0  # slices that a table counts as
SHRINK = 5.0  # tables that all kinds together count as, for each kind
ROUNDS = 60
MOST = 5  # rows that are few
FIRST = 4  # rows whose smallest value an offset is a share of, as where rows are few
NEAR = 6  # rows from which the noise is learned: what scatters along a whole curve is misfit as well
SPANS, FACTOR = 1.0, 4.0  # the horizon: as far again as the rows span, or four times the largest
LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class Case:
    """Rows of one group, sorted by size: columns by symbol and their kinds, and the target."""

    table: str
    columns: Mapping[str, Array]
    kinds: Mapping[str, str]
    y: Array

    @property
    def rising(self) -> bool:
        """Whether the target rises."""
        return rises(self.columns, self.y)

    def problem(self, form: str, rows: Any, numbers: Mapping[str, Any] | None = None) -> Problem:
        """Return the form on some of the rows, under the numbers learned or the wide priors."""
        expression = parse(FORMS[form], list(self.columns))
        roles = roles_of(expression, self.kinds)
        assert not isinstance(roles, str)
        if numbers is None:
            exponents = [c for t in roles.terms for c in t.exponents]
            term = WIDE["term"] if form == "sum" else WEAK_TERM
            amplitudes = dict.fromkeys([t.amplitude for t in roles.terms], term)
            priors = ConstantPriors(
                dict.fromkeys(exponents, WIDE["exponent"]), WIDE["offset"], amplitudes, WIDE["noise"]
            )
        else:
            priors = PriorLibrary("", 0, SPANS, FACTOR, {form: numbers}).of(roles, form == "power to a ceiling")
        columns = {s: x[rows] for s, x in self.columns.items()}
        return Problem(expression, roles, priors, columns, self.y[rows], rising=form == "power to a ceiling")


@dataclass(frozen=True, eq=False)
class Fitted:
    """Draws of one case under the wide priors, by role and kind of what is searched."""

    table: str
    draws: Mapping[tuple[str, str], Array]


def generator(case: Case, *more: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(f"{case.table} {case.y.sum():.9g}".encode()), *more])


def fitted(case: Case, form: str) -> Fitted:
    problem = case.problem(form, slice(None))
    problem.best = float(case.y[:FIRST].max() if problem.rising else case.y[:FIRST].min())
    found = problem.posterior(DRAWS, generator(case))
    at = dict(zip(problem.names, found.free.T, strict=True))
    draws: dict[tuple[str, str], Array] = {("noise", "other"): at["noise"]}
    if len(case.columns) == 1:
        near = case.problem(form, slice(NEAR))
        draws["noise", "other"] = near.posterior(DRAWS, generator(case)).free[:, -1]
    if "offset" in at:
        draws["offset", "other"] = at["offset"]
    for term in problem.roles.terms:
        for c, (kind, _) in term.exponents.items():
            draws["exponent", kind] = at[c]
            if form == "sum":
                draws["term", kind] = at[term.amplitude]
    return Fitted(case.table, draws)


def sums(folder: Path) -> list[Case]:
    """Return rows of parameters and data with a falling target: the best of each pair, group by group."""
    parts = tables(folder)
    if not parts:
        return []
    first = parts[0]
    found = []
    scales = [(i, v) for i, v in enumerate(first.variables) if v.role == "scale" and not v.log]
    at = {kind_of(v.column): i for i, v in reversed(scales)}
    if not {"parameters", "data"} <= set(at):
        return []
    for j, target in enumerate(first.targets):
        for group in first.groups:
            best: dict[tuple[float, float], float] = {}
            for t in parts:
                for k in range(t.n_rows):
                    if t.groups[t.group_index[k]] == group:
                        key = float(t.X[k, at["parameters"]]), float(t.X[k, at["data"]])
                        best[key] = min(best.get(key, np.inf), float(t.Y[k, j]))
            N, D = np.array(list(best)).T
            y = np.array(list(best.values()))
            known = (y > 0).all() and min(N.min(), D.min()) > 0 and min(len(set(N)), len(set(D))) >= 3
            if target.better == "lower" and known and len(y) >= 12:
                kept = np.random.default_rng(0).permutation(len(y))[:40]
                kept = kept[np.argsort((N * D)[kept], kind="stable")]
                kinds = {"x": "parameters", "z": "data"}
                found.append(Case(folder.name, {"x": N[kept], "z": D[kept]}, kinds, y[kept]))
    return found[:4]


def normal(parts: Sequence[tuple[Array, float]], prior: Normal, begin: Normal, pull: float) -> tuple[Normal, float]:
    """Return mean and spread over slices, and how many they count as.

    Args:
        parts: Draws of each slice under a wide prior, and what it counts as.
        prior: That wide prior.
        begin: Mean and spread of all kinds together, towards which these are drawn.
        pull: How many slices these count as.
    """
    mean, sd = begin
    total = sum(w for _, w in parts)
    for _ in range(ROUNDS if parts else 0):
        first = second = 0.0
        for draws, w in parts:
            log = -0.5 * ((draws - mean) / sd) ** 2 + 0.5 * ((draws - prior[0]) / prior[1]) ** 2
            weight = np.exp(log - log.max())
            weight /= weight.sum()
            first += w * float(weight @ draws)
            second += w * float(weight @ draws**2)
        mean = (first + pull * begin[0]) / (total + pull)
        square = (second + pull * (begin[1] ** 2 + begin[0] ** 2)) / (total + pull) - mean**2
        sd = float(np.sqrt(max(square, 0.01)))
    return (mean, sd), total


def learned(found: Sequence[Fitted], form: str) -> dict[str, Any]:
    """Return role to kind to mean and spread."""
    of_table: dict[str, int] = {}
    for f in found:
        of_table[f.table] = of_table.get(f.table, 0) + 1
    counts = {t: min(1.0, MOST_OF_TABLE / n) for t, n in of_table.items()}
    result: dict[str, Any] = {}
    for role in ROLES:
        broad = WEAK_TERM if role == "term" and form != "sum" else WIDE[role]
        parts = [(d, counts[f.table], kind) for f in found for (r, kind), d in f.draws.items() if r == role]
        overall, _ = normal([(d, w) for d, w, _ in parts], broad, broad, 0.0)
        result[role] = {"other": overall}
        for kind in KINDS[:-1]:
            own = [(d, w) for d, w, k in parts if k == kind]
            if own and role in ("exponent", "term"):
                result[role][kind], _ = normal(own, broad, overall, SHRINK)
    return result


def foretold(case: Case, form: str, n: int, numbers: Mapping[str, Any]) -> list[tuple[float, ...]]:
    """Return n, miss, spread and noise of the rows beyond n of the small ones, within the horizon, as logarithms."""
    if len(case.columns) == 1:
        rows = np.arange(n)
    else:
        small = len(case.y) // 3
        rows = np.sort(generator(case, n).choice(small, min(n, small), replace=False))
    ahead = np.arange(rows[-1] + 1, len(case.y))
    for x in case.columns.values():
        top = x[rows].max()
        ahead = ahead[x[ahead] <= top * max((top / x[rows].min()) ** SPANS, FACTOR) * (1 + 1e-9)]
    if not len(ahead) or (form == "power to a ceiling" and n < 2):
        return []
    problem = case.problem(form, rows, numbers)
    found = problem.posterior(DRAWS, generator(case, n))
    points = {s: x[ahead] for s, x in case.columns.items()}
    middle = problem.values({c: np.array([v]) for c, v in found.estimate.items()}, points)[0]
    with np.errstate(all="ignore"):
        spread = np.quantile(
            np.nan_to_num(np.abs(np.log(problem.values(found.draws, points) / middle)), nan=9.0), 0.6827, axis=0
        )
    miss = np.log(case.y[ahead] / middle)
    noise = float(np.median(found.noise))
    return [(n, float(m), float(sp), noise) for m, sp in zip(miss, spread, strict=True)]


def stretch_of(rows: Array, weights: Array) -> float:
    """Return the factor on the spread with which 90 % of the values lie inside, with the tails of Student's t."""
    z = float(stdtrit(TAILS, 0.5 + LEVEL / 2))
    _, miss, spread, noise = rows.T
    needed = np.sqrt(np.maximum((miss / z) ** 2 - noise**2, 0.0)) / np.maximum(spread, 1e-12)
    order = np.argsort(needed)
    k = int(np.searchsorted(np.cumsum(weights[order]) / weights.sum(), LEVEL))
    return float(needed[order][min(k, len(order) - 1)])


def judged(cases: Sequence[Case], found: Sequence[Fitted], form: str) -> tuple[Array, Array]:
    """Return what is foretold of every case, from tables of other fifths, and what each value counts."""
    rows: list[tuple[float, ...]] = []
    weights: list[float] = []
    of_table = {name: sum(c.table == name for c in cases) for name in {c.table for c in cases}}
    for fold in range(5):
        inside = [zlib.crc32(c.table.encode()) % 5 == fold for c in cases]
        own = learned([f for f, i in zip(found, inside, strict=True) if not i], form)
        for case in (c for c, i in zip(cases, inside, strict=True) if i):
            for n in range(1, MOST + 1):
                told = foretold(case, form, n, own)
                rows += told
                weights += [1.0 / max(len(told), 1) / of_table[case.table]] * len(told)
    return np.array(rows), np.array(weights)


def of_form(form: str, cases: Sequence[Case]) -> dict[str, Any]:
    """Return the numbers of a form, and print how they do on tables that they were not learned from."""
    found = [fitted(c, form) for c in cases]
    rows, weights = judged(cases, found, form)
    stretch = max(stretch_of(rows, weights), 1.0)
    z = float(stdtrit(TAILS, 0.5 + LEVEL / 2))
    print(f"{form}: {len(cases)} cases of {len({c.table for c in cases})} tables, stretch {stretch:.2f}")
    for n in range(1, MOST + 1):
        some = rows[:, 0] == n
        if some.any():
            _, miss, spread, noise = rows[some].T
            half = z * np.hypot(stretch * spread, noise)
            inside = np.average(np.abs(miss) <= half, weights=weights[some])
            print(f"  {n} rows: median error {np.median(np.abs(miss)):.4f}, inside {inside:.2f}, "
                  f"median half width {np.median(half):.3f}, {some.sum()} values", flush=True)  # fmt: skip
    return {**learned(found, form), "stretch": stretch}


def text_of(numbers: Mapping[str, Mapping[str, Any]], n_tables: int) -> str:
    lines = [
        "# Means and standard deviations of the constants of laws, by form and role: `priors.py` says of what. Written",
        "# by bench/priors.py from tables that bench/split.md names to build on: statistics of constants, no rows.",
        'version = "1"', f"tables = {n_tables}", f"spans = {SPANS:g}", f"factor = {FACTOR:g}",
    ]  # fmt: skip
    for form, of in numbers.items():
        lines += ["", f'[form."{form}"]', f"stretch = {of['stretch']:.3f}"]
        for role in ROLES:
            ends = ", ".join(f"{kind} = [{m:.4f}, {sd:.4f}]" for kind, (m, sd) in of[role].items())
            lines.append(f"{role} = {{ {ends} }}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Learn, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    build = folders(args.data, "build")
    along = [Case(s.table, {"x": s.x}, {"x": s.kind}, s.y) for folder in build for s in slices(folder)]
    falling, rising = [c for c in along if not c.rising], [c for c in along if c.rising]
    both = [case for folder in build for case in sums(folder)]
    cases = {"power": falling, "power with offset": falling, "power to a ceiling": rising, "sum": both}
    with Pool(args.workers) as pool:
        found = pool.starmap(of_form, cases.items(), chunksize=1)
    text = text_of(dict(zip(cases, found, strict=True)), len({c.table for c in (*along, *both)}))
    print(text)
    if args.write:
        write_text_atomic(FILE, text)


if __name__ == "__main__":
    main()
