"""Published laws found again from rows that they generated: the search is given the rows and must return the law.

    python bench/rediscovery.py                  # 8 minutes; writes rediscovery.md and results/rediscovery.json here
    python bench/rediscovery.py --columns noisy  # one column; the others are kept
    python bench/rediscovery.py --laws chinchilla,scalerl --columns exact --dry

**Laws.** Every law of the catalogue that is a published one (not composed here) and has a formula in the grammar, with
the constants of its `example`. A constant whose example is zero is left out of the formula. Of several laws that are
one family over the same roles of variables (most of all the power law in one variable) the first is kept. A law is
left out when its rows cannot show its constants: when the Jacobian of the law, in relative changes of its constants on
the training rows, has a condition number above 1e6; a combination without any effect, as of k and N0 in `k*(N/N0)**p`,
does not count. No law is left out because the search or a fit fails on it.

**Rows.** 60 for one variable, 90 for two, 120 for more; log-uniform (uniform where the domain is narrow or reaches
zero) on the lower two thirds of the domain of every scale variable and the whole domain of the others; proportions
uniform on the simplex. 60 more rows have a scale variable in the upper third, for checking only.

**Rediscovered**, without noise: the chosen form is an equivalent family (`sld.laws.equivalence`), or it is the same
function with no more constants (a special case: an exponent that is 1 left out, two equal exponents tied); the
predictions are within 1e-6 of the law's on all rows, those beyond the data included; and the constants are within 1 %:
those of the published formula, fitted to the predictions of the chosen law from their true values. With noise (1 % of
the target, normal, multiplicative): the form alone, where a special case is one that gives the law when it is fitted
to the rows without noise. The columns "without its family" repeat the search for every third law with its family taken
out of the catalogue, so that it has to be built from parts.

A law is "visible" in the noise when no combination of relative changes of its constants has a standard error above one
third at the true values (Cramer-Rao bound for the noise that was added); below that, a shorter form is as good an
account of the rows, and what is found is the luck of the draw.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402

from sld.core.errors import SldError  # noqa: E402
from sld.data.card import Target, Variable  # noqa: E402
from sld.data.table import Table  # noqa: E402
from sld.fit.fitting import Fitter, fit  # noqa: E402
from sld.fit.kernel import Array, evaluate, value_and_jacobian  # noqa: E402
from sld.fit.tape import compile_tape  # noqa: E402
from sld.formula.canonical import canonical_key, simplify  # noqa: E402
from sld.formula.expression import Expression, name, number, parse, substitute  # noqa: E402
from sld.laws.catalogue import CatalogueLaw, load_catalogue  # noqa: E402
from sld.laws.equivalence import equivalent  # noqa: E402
from sld.search.candidates.candidate import Candidate  # noqa: E402
from sld.search.candidates.selection import one_standard_error  # noqa: E402
from sld.search.discovery import SearchSettings, discover  # noqa: E402
from sld.search.judging.judge import Proposal  # noqa: E402
from sld.search.outcome import Discovery  # noqa: E402
from sld.search.proposing import proposers  # noqa: E402

ROWS = {1: 60, 2: 90}
MORE_ROWS = 120
CHECK_ROWS = 60
LOWER_PART = 2 / 3
NOISE = 0.01
WORST_CONDITION = 1e6
REDUNDANT = 1e-11  # relative singular values below this are rounding: the formula has a constant too many
VISIBLE = 3.0  # standard errors
SAME_FUNCTION = 1e-6
SAME_CONSTANT = 0.01
WITHOUT = " without its family"
SAMPLE = 3  # the columns without its family take every third law
COLUMNS = ("exact", "noisy", "exact" + WITHOUT, "noisy" + WITHOUT)
BARS = {"exact": 0.9, "noisy": 0.7}


@dataclass(frozen=True)
class Problem:
    """A law and the rows that it generated.

    Attributes:
        truth: The formula without the constants whose example is zero.
        values: Its constants.
        train: Rows for the search, without noise.
        beyond: Rows for checking.
        condition: Of the relative Jacobian on the training rows.
        visibility: The smallest singular value of the relative Jacobian over the noise.
    """

    law: CatalogueLaw
    truth: Expression
    values: Mapping[str, float]
    train: Table
    beyond: Table
    condition: float
    visibility: float

    @property
    def visible(self) -> bool:
        """Whether the noise leaves every constant to be seen."""
        return self.visibility >= VISIBLE

    def noisy(self, seed: int) -> Table:
        """Return the training rows with noise."""
        rng = np.random.default_rng([seed, len(self.law.id), *self.law.id.encode()])
        factors = 1 + NOISE * rng.normal(size=self.train.Y.shape)
        return replace(self.train, Y=self.train.Y * factors)


def problems(only: Sequence[str] = ()) -> tuple[list[Problem], dict[str, str]]:
    """Return the problems, and why each other published law is none: law -> reason."""
    found: list[Problem] = []
    left_out: dict[str, str] = {}
    families: dict[str, str] = {}
    for law in (law for law in load_catalogue() if law.proposed):  # what a search knows
        if law.status == "derived":
            continue
        problem = _problem(law, families)
        if isinstance(problem, str):
            left_out[law.id] = problem
        else:
            found.append(problem)
    if unknown := set(only) - {p.law.id for p in found}:
        raise SystemExit(f"no such problem: {', '.join(sorted(unknown))}")
    return [p for p in found if not only or p.law.id in only], left_out


def _problem(law: CatalogueLaw, families: dict[str, str]) -> Problem | str:
    if not law.expressible:
        return "not in the grammar"
    if law.implicit:
        return "gives the scale for a response, not the response"
    zeros = {c: number(0.0) for c, example in law.examples.items() if example == 0}
    tree = substitute(law.expression.tree, dict(zeros))
    if zeros:
        # what is left of E + A*N**-a without E
        tree = simplify(Expression(tree, law.expression.variables)).tree
    truth = Expression(tree, law.expression.variables)
    values = {c: law.examples[c] for c in truth.constants} if set(truth.constants) <= set(law.examples) else None
    assert values is not None, law.id
    if not truth.constants:
        return "no constants"
    family = _family(truth, law)
    if family in families:
        return f"the family of {families[family]}"
    families[family] = law.id
    rng = np.random.default_rng([*law.id.encode()])
    train = _table(law, truth, values, rng, ROWS.get(len(law.variables), MORE_ROWS), beyond=False)
    beyond = _table(law, truth, values, rng, CHECK_ROWS, beyond=True)
    if not (np.isfinite(train.Y).all() and np.isfinite(beyond.Y).all()):
        return "not finite on its domain"
    if float(np.ptp(train.Y)) == 0:
        return "constant on the rows"
    singular, visible = _singular_values(truth, values, train)
    condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")
    if not condition < WORST_CONDITION:
        return f"its constants cannot be told from the rows: condition {condition:.1g}"
    return Problem(law, truth, values, train, beyond, condition, float(visible[-1]))


def _family(truth: Expression, law: CatalogueLaw) -> str:
    """Return a key that is the same for one family over the same roles, whatever the variables are called."""
    names = {v.symbol: name(f"{v.role}_{i}_x") for i, v in enumerate(law.variables)}
    logs = "".join(str(v.log) for v in law.variables)
    return canonical_key(Expression(substitute(truth.tree, names), tuple(n.name for n in names.values()))) + logs


def _table(
    law: CatalogueLaw,
    truth: Expression,
    values: Mapping[str, float],
    rng: np.random.Generator,
    n_rows: int,
    *,
    beyond: bool,
) -> Table:
    scales = [i for i, v in enumerate(law.variables) if v.role == "scale"]
    U = rng.random((n_rows, len(law.variables)))
    if beyond and scales:
        far = rng.choice(scales, n_rows)
        U[np.arange(n_rows), far] = LOWER_PART + (1 - LOWER_PART) * U[np.arange(n_rows), far]
    elif scales:
        U[:, scales] *= LOWER_PART
    shares = [i for i, v in enumerate(law.variables) if v.role == "proportion"]
    X = np.empty_like(U)
    for i, v in enumerate(law.variables):
        low, high = v.domain
        wide = low > 0 and high / low > 50 and v.log is None
        X[:, i] = low * (high / low) ** U[:, i] if wide else low + (high - low) * U[:, i]
    if len(shares) > 1:
        X[:, shares] = rng.dirichlet(np.ones(len(shares)), n_rows)
    with np.errstate(all="ignore"):
        y = evaluate(truth, {v.symbol: X[:, i] for i, v in enumerate(law.variables)}, values)
    variables = tuple(Variable(v.symbol, v.meaning, v.unit, v.role, log=v.log) for v in law.variables)
    return Table(variables=variables, targets=(Target("y"),), X=X, Y=np.asarray(y)[:, None])


def _singular_values(truth: Expression, values: Mapping[str, float], train: Table) -> tuple[Array, Array]:
    """Return the singular values of the relative Jacobian, and of it over the noise; redundant constants left out."""
    tape = compile_tape(truth, project=False)
    theta = np.array([values[c] for c in tape.constants])
    _, jacobian = value_and_jacobian(tape, tape.column_values(train.inputs, train.n_rows), theta[None])
    scaled = (jacobian[0] * np.abs(theta)[:, None]).T
    if not np.isfinite(scaled).all():
        return np.zeros(1), np.zeros(1)
    noise = NOISE * np.abs(train.Y)
    found = []
    for matrix in (scaled, scaled / np.maximum(noise, 1e-300)):
        singular = np.linalg.svd(matrix, compute_uv=False)
        found.append(singular[singular > REDUNDANT * singular[0]])
    return found[0], found[1]


def keys(problem: Problem) -> frozenset[str]:
    """Return the keys of the law: without its zero constants, and as published."""
    return frozenset(canonical_key(e) for e in (problem.truth, problem.law.expression))


def search(problem: Problem, column: str, budget: str, seed: int) -> Discovery:
    """Run the search of one column."""
    table = problem.noisy(seed) if column.startswith("noisy") else problem.train
    if not column.endswith(WITHOUT):
        return discover(table, SearchSettings(seed=seed, budget=budget, workers=1))
    mine = keys(problem)

    def rest(table: Table) -> Iterator[Proposal]:
        return (p for p in proposers.from_catalogue(table) if p.key not in mine)

    with mock.patch.dict(proposers.PROPOSERS, {"catalogue": rest}):
        return discover(table, SearchSettings(seed=seed, budget=budget, workers=1))


def is_the_law(problem: Problem, candidate: Candidate) -> bool:
    """Whether a candidate's form is the law's family; with a constant that the data put to zero it is the law too."""
    if candidate.key in keys(problem):
        return True
    form = candidate.expressions["y"]
    laws = (problem.truth, problem.law.expression)
    return any(len(form.constants) <= len(law.constants) + 2 and equivalent(form, law) for law in laws)


def is_a_special_case(problem: Problem, candidate: Candidate) -> bool:
    """Whether a form with no more constants than the law is the law's function on the rows without noise."""
    form = candidate.expressions["y"]
    if len(form.constants) > len(simplify(problem.truth).constants):
        return False
    start = {"all": next(iter(candidate.constants["y"].values()))}
    found = fit(form, problem.train, starts=64, inherit=start)
    if not found.ok:
        return False
    rows = _all_rows(problem)
    return _miss(rows, evaluate(form, rows.inputs, found.constants["all"])) <= SAME_FUNCTION


def check(problem: Problem, column: str, found: Discovery) -> dict[str, Any]:
    """Compare what was found with the law."""
    form = found.chosen.expressions["y"]
    rows = _all_rows(problem)
    with np.errstate(all="ignore"):
        got = evaluate(form, rows.inputs, found.law.constants["y"]["all"])
    family = is_the_law(problem, found.chosen)
    special = not family and is_a_special_case(problem, found.chosen)
    result: dict[str, Any] = {
        "law": problem.law.id,
        "chosen": form.text,
        "origin": found.chosen.origin,
        "form": "family" if family else "special case" if special else "other",
        "miss": _miss(rows, got),
        "constant_error": _constant_error(problem, replace(rows, Y=got[:, None])) if np.isfinite(got).all() else None,
        "seconds": round(found.seconds, 2),
        "tried": found.counts["tried"],
    }
    ok = family or special
    if column.startswith("exact"):
        error = result["constant_error"]
        ok = ok and result["miss"] <= SAME_FUNCTION and error is not None and error <= SAME_CONSTANT
    if column.endswith(WITHOUT):
        # another law of the catalogue may be the same function in a writing that the key does not see through
        ok = ok and not found.chosen.origin.startswith("catalogue")
    return {**result, "found": ok, **_rivals(problem, found)}


def _all_rows(problem: Problem) -> Table:
    train, beyond = problem.train, problem.beyond
    return replace(
        train,
        X=np.concatenate([train.X, beyond.X]),
        Y=np.concatenate([train.Y, beyond.Y]),
        group_index=np.zeros(train.n_rows + beyond.n_rows, dtype=np.intp),
    )


def _miss(rows: Table, got: Array) -> float:
    """Return the largest error relative to the value, or to the standard deviation where that is more."""
    wanted = rows.Y[:, 0]
    size = np.maximum(np.abs(wanted), np.std(wanted))
    return float(np.max(np.where(np.isfinite(got), np.abs(got - wanted) / size, np.inf)))


def _constant_error(problem: Problem, rows: Table) -> float:
    """Return the largest relative error of the formula's constants, fitted to `rows` from their true values."""
    fitter = Fitter(problem.truth, rows)
    start = np.array([[problem.values[c] for c in fitter.tape.constants]])
    solution = fitter.solve(start, max_iterations=200, tolerance=1e-14)
    true = np.array([problem.values[c] for c in fitter.names])
    return float(np.max(np.abs(solution.values[0] / true - 1))) if solution.ok else float("inf")


def _rivals(problem: Problem, found: Discovery) -> dict[str, Any]:
    """Return the law's place in the hall of fame, and whether the folds can tell it from the best candidate."""
    mine = keys(problem)
    for place, candidate in enumerate(found.hall_of_fame, start=1):
        if candidate.key in mine:
            # made the simplest of all, it is chosen whenever it is among the equals
            first = replace(candidate, expressions=dict.fromkeys(candidate.expressions, parse("1")))
            pool = [first if c is candidate else c for c in found.hall_of_fame]
            return {"place": place, "equal": one_standard_error(pool) is first}
    return {"place": None, "equal": False}


def measure(chosen: Sequence[Problem], column: str, budget: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a result per problem."""
    for problem in chosen:
        try:
            yield check(problem, column, search(problem, column, budget, seed))
        except SldError as error:
            yield {"law": problem.law.id, "found": False, "form": "none", "chosen": f"failed: {error}", "equal": False}


def report(result: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    visible = {law for law, p in result["laws"].items() if p["visible"]}
    lines = [
        "# Published laws found again",
        "",
        f"`{result['command']}` · {result['budget']} and seed {result['seed']} for each law · {result['machine']}.",
        "What the columns mean, which laws take part and what counts as found: see the top of `bench/rediscovery.py`.",
        "",
        "| column | laws | found | predictions within 1e-6, whatever the form "
        "| found, of those that the noise leaves visible | law among the equals of the rule | bar |",
        "|---|---|---|---|---|---|---|",
    ]
    for column, rows in result["columns"].items():
        seen = [r for r in rows if r["law"] in visible]
        noisy = column.startswith("noisy")
        bar = BARS.get(column)
        share = sum(r["found"] for r in rows) / len(rows)
        cells = [
            column,
            str(len(rows)),
            _share(rows, "found"),
            "" if noisy else _share([{"same": r.get("miss", math.inf) <= SAME_FUNCTION} for r in rows], "same"),
            _share(seen, "found") if noisy else "",
            _share(rows, "equal") if noisy else "",
            "" if bar is None else f"≥ {100 * bar:.0f} %: {'met' if share >= bar else 'missed'}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for column, rows in result["columns"].items():
        if all(r["found"] for r in rows):
            continue
        lines += ["", f"## Missed: {column}", "", "| law | visible | chosen instead | from |", "|---|---|---|---|"]
        for r in rows:
            if not r["found"]:
                mark = "yes" if r["law"] in visible else "no"
                if r["form"] == "other":
                    form = f"`{r['chosen']}`"
                else:
                    form = "its form in another writing" if column.endswith(WITHOUT) else "its form, other constants"
                lines.append(f"| {r['law']} | {mark} | {form} | {r.get('origin', '')} |")
    lines += ["", "## Laws that take part", "", "| law | formula | condition | visibility |", "|---|---|---|---|"]
    lines += [
        f"| {law} | `{p['formula']}` | {p['condition']:.2g} | {p['visibility']:.2g} |"
        for law, p in result["laws"].items()
    ]
    lines += ["", "## Laws left out", "", "| law | why |", "|---|---|"]
    lines += [f"| {law} | {why} |" for law, why in result["left_out"].items()]
    return "\n".join(lines) + "\n"


def _share(rows: Sequence[Mapping[str, Any]], field: str) -> str:
    n = sum(bool(r[field]) for r in rows)
    return f"{n} of {len(rows)} ({100 * n / max(len(rows), 1):.0f} %)"


def main() -> None:
    """Search, print, write; columns measured earlier with the same budget and seed are kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", default="8000fits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", default=",".join(COLUMNS))
    parser.add_argument("--laws", default="", help="identifiers of laws, with commas; all by default")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    args = parser.parse_args()
    chosen, left_out = problems([law for law in args.laws.split(",") if law])
    path = ROOT / "bench" / "results" / "rediscovery.json"
    setting = {"budget": args.budget, "seed": args.seed}
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not args.dry else {}
    columns = before.get("columns", {}) if all(before.get(k) == v for k, v in setting.items()) else {}
    for column in args.columns.split(","):
        if column not in COLUMNS:
            parser.error(f"no column {column!r}; there are {', '.join(COLUMNS)}")
        rows = []
        step = SAMPLE if column.endswith(WITHOUT) and not args.laws else 1
        for row in measure(chosen[::step], column, args.budget, args.seed):
            rows.append(row)
            print(f"{column}: {row['law']} {'found' if row['found'] else row['chosen']}", file=sys.stderr, flush=True)
        columns[column] = rows
    command = " ".join(
        ["python bench/rediscovery.py"]
        + [
            f"--{k} {v}"
            for k, v in vars(args).items()
            if k in ("budget", "seed", "laws") and v != parser.get_default(k)
        ]
    )
    result = {
        "command": command,
        **setting,
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        "columns": {c: columns[c] for c in COLUMNS if c in columns},
        "laws": {
            p.law.id: {
                "formula": p.truth.text,
                "condition": p.condition,
                "visibility": p.visibility,
                "visible": p.visible,
            }
            for p in chosen
        },
        "left_out": left_out,
    }
    text = report(result)
    print(text)
    if not args.dry and not args.laws:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (ROOT / "bench" / "rediscovery.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
