"""Which rows to pay for: runs that `sld next` chooses from a pool, beside random, cheapest and optimal designs.

    python bench/next.py [--pools farseer,llama3_isoflop,...] [--seeds 0-9] [--methods ours,vopt,...] [--data DIR]

A pool is the training rows of a task, its held-out rows are the target region, and a row costs the product of its scale
variables. Each seed begins with a few rows drawn from the cheaper half (three per group, eight at least, within half of
1 % of all cost where that is possible), and one search of 2,000 fits on them. From there every method has the same
forms: the twelve best of that search, up to twelve published laws of just these quantities, and a log-linear one. After
each batch they are fitted again to the rows that were paid for, and the median of the best by AICc, weighted, predicts
the held-out rows. Rows are paid for up to 1, 5 and 10 % of all cost, in batches of a half of what is left to the next
of these. A pool of which 1 % does not buy the first rows is not played at that budget. R² is cut at -1. Writes
bench/results/next.json after every pool and seed (an interrupted run goes on where it stopped) and bench/next.md.

* random, cheapest: rows in random order, or the cheapest first.
* inverse: rows drawn with probabilities inverse to their cost.
* dopt: D-optimal, the largest gain of log det of the best form's information matrix for the cost, row after row.
* vopt: V-optimal, the largest fall of the summed variance of the best form's predictions at the held-out points for the
  cost, row after row.
* ours: `sld/analysis/decisions/choosing_runs.py`: deviations of refits, rivals and misfit, with a share for places
  where nothing is known.
* igs: greedy sampling in inputs and outputs (Wu et al. 2019) of scikit-activeml 1.0, with a Gaussian process over
  standardised logarithms, which sees each value as soon as it is bought; where --public names an interpreter with it.
* all: every row of the pool.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sld.analysis import intervals
from sld.analysis.decisions.asked import Side, prediction
from sld.analysis.decisions.belief import Parts
from sld.analysis.decisions.candidates import Candidates
from sld.analysis.decisions.choosing_runs import GUARD, Rules, choose
from sld.analysis.decisions.next_runs import asked_places, belief_of, places
from sld.core.errors import SldError, UsageError
from sld.data.table import Table
from sld.data.task import load_task
from sld.fit.fitting import FitResult
from sld.fit.kernel import evaluate, value_and_jacobian
from sld.fit.separation import linear_constants
from sld.fit.tape import compile_tape
from sld.formula.canonical import canonical_key
from sld.formula.expression import Expression
from sld.laws.catalogue import get_law
from sld.laws.fit_settings import FitSettings
from sld.laws.law import Law
from sld.laws.responses import unsuited
from sld.search.discovery import SearchSettings, discover
from sld.search.proposing.proposers import from_catalogue

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
_IGS = """
import json, sys
import numpy as np
from skactiveml.pool import GreedySamplingTarget
from skactiveml.regressor import SklearnRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
job = json.load(sys.stdin)
X, truth, cost, money = np.array(job["X"]), np.array(job["y"]), np.array(job["cost"]), job["money"]
y = np.full(len(truth), np.nan)
y[job["have"]] = truth[job["have"]]
model = SklearnRegressor(GaussianProcessRegressor(RBF(1.0), alpha=1e-4, normalize_y=True, optimizer=None))
asks = GreedySamplingTarget(method="GSi", random_state=job["seed"])
bought = []
while True:
    can = np.flatnonzero(np.isnan(y) & (cost <= money))
    if not len(can):
        break
    i = int(asks.query(X, y, model, candidates=can)[0])
    y[i] = truth[i]
    money -= cost[i]
    bought.append(i)
json.dump(bought, sys.stdout)
"""


HERE = Path(__file__).resolve().parent
METHODS = ("ours", "vopt", "dopt", "inverse", "cheapest", "random")
PUBLIC = "igs"  # beside the others where somebody names an interpreter that has scikit-activeml
LOOKED_AT = (  # while rules and their numbers were chosen, with seeds of 20 and more
    "clip_mammut_best", "data_constrained", "easy_question", "farseer", "llama3_isoflop", "marin_isoflop",
    "misfitting_nd", "moe", "openclip_zeroshot", "pythia_lambada_logppl", "routed_lambada", "sparsity", "vocab",
    "xlstm_isoflop",
)  # fmt: skip
OTHERS = (
    "astropt_galaxies", "crl_depth_batch", "dopamine_seaquest_agents", "gbigbench_262M", "gpt2_width_curves",
    "jax_gpt_curves", "kempner_arc_easy_err", "kempner_own_loss", "lcdb_letter", "mlp_teacher_student",
    "rl_tdmpc2_tasks",
)  # fmt: skip
BUDGETS = (0.01, 0.05, 0.10)
NEAR = 0.02  # of R²: nobody tells two such predictions apart
SUITES = ("open", "open2", "sldbench-train", "nanolm")
FITS = "2000fits"
SHARP = 0.1  # weight of a form falls by e for ten units of its criterion
RIVAL = 20.0  # units of the criterion that a rival may be behind
FORMS = 12
KNOWN = 12


@dataclass(frozen=True)
class Pool:
    """Rows to be bought, and the region that is asked for; the first target."""

    name: str
    rows: Table
    target: Table
    cost: Array

    @staticmethod
    def of(name: str, folder: Path) -> Pool:
        """Read one; rows of groups that cannot be bought are left out of the target region."""
        task = load_task(folder)
        held_out = task.held_out()
        assert held_out is not None
        rows, target = task.train.for_target(0), held_out.for_target(0)
        known = np.isin(np.array(target.groups)[target.group_index], rows.groups)
        cost = np.ones(rows.n_rows)
        for i, v in enumerate(rows.variables):
            if v.role == "scale":
                cost = cost * (np.exp(v.nats_per_unit * rows.X[:, i]) if v.log else rows.X[:, i])
        return Pool(name, rows, target.take(known), cost)


@dataclass(frozen=True)
class Form:
    """A form, and how it is fitted."""

    expression: Expression
    settings: FitSettings


def start_rows(pool: Pool, rng: np.random.Generator) -> Rows:
    """Return the rows that every method begins with."""
    rows = pool.rows
    each = max(3, math.ceil(8 / len(rows.groups)))
    money = 0.5 * BUDGETS[0] * pool.cost.sum()
    found: list[int] = []
    for g in range(len(rows.groups)):
        own = np.flatnonzero(rows.group_index == g)
        own = own[np.argsort(pool.cost[own], kind="stable")]
        half = own[: max(each, len(own) // 2)]
        cheap = half[pool.cost[half] <= money / (each * len(rows.groups))]
        chosen = rng.choice(cheap if len(cheap) >= each else own[:each], min(each, len(own)), replace=False)
        found.extend(int(i) for i in chosen)
    return np.array(sorted(found), dtype=np.intp)


def forms_of(table: Table, seed: int) -> list[Form]:
    """Return the forms of one search on the first rows, and a log-linear one."""
    found: list[Form] = []
    try:
        search = discover(table, SearchSettings(seed=seed, budget=FITS, workers=1, outliers="keep"))
        candidates = [c for c in search.hall_of_fame if c.admissible] or list(search.hall_of_fame)
        column = table.targets[0].column
        for c in candidates[:FORMS]:
            found.append(_form(table, c.expressions[column], tuple(c.shared.get(column, ()))))
    except SldError:
        pass
    known = [p.forms[0] for p in from_catalogue(table)]
    known = [f for f in known if f.mismatch == 0 and len(f.expression.used_variables) == len(table.variables)]
    suited = [f for f in known if not unsuited(get_law(f.origin.removeprefix("catalogue:")), table.targets[0])]
    for form in suited[:KNOWN]:
        own = _form(table, form.expression, ())
        settings = replace(own.settings, positive=tuple(form.positive), bounds=form.bounds)
        found.append(Form(form.expression, settings))
    positive = [v.symbol for v in table.variables if v.log is None and (table.column(v.symbol) > 0).all()]
    others = [v.symbol for v in table.variables if v.symbol not in positive]
    terms = [f"a{k}*log({s})" for k, s in enumerate(positive)] + [f"b{k}*{s}" for k, s in enumerate(others)]
    body = " + ".join(["c", *terms])
    text = f"exp({body})" if (table.Y > 0).all() else body
    everything = [*found, _form(table, table.parse(text), ())]
    return list({canonical_key(f.expression): f for f in reversed(everything)}.values())[::-1]


def _form(table: Table, expression: Expression, shared: tuple[str, ...]) -> Form:
    if len(table.groups) > 1 and not shared:
        linear = set(linear_constants(expression)[1])
        shared = tuple(c for c in expression.constants if c not in linear)
    return Form(expression, FitSettings(shared=shared if len(table.groups) > 1 else ()))


@dataclass(frozen=True)
class Fitted:
    """A form with its constants; the smaller the criterion the better."""

    form: Form
    result: FitResult
    criterion: float


def fitted(forms: Sequence[Form], table: Table) -> list[Fitted]:
    """Return the forms that can be fitted, the best information criterion (AICc) first."""
    found = []
    n = table.n_rows
    for form in forms:
        shared = len(form.settings.shared)
        k = (len(form.expression.constants) - shared) * len(table.groups) + shared + 1
        if n < k + 2:
            continue
        try:
            result = form.settings.fit(form.expression, table, starts=8, seed=0)
        except UsageError:  # too few rows of a group
            continue
        if result.ok:
            error = max(result.nmse, 1e-12)
            found.append(Fitted(form, result, n * math.log(error) + 2 * k * n / (n - k - 1)))
    return sorted(found, key=lambda f: f.criterion)


def predicted(found: Sequence[Fitted], rows: Table) -> Array:
    """Return the weighted median of what the forms say, weights from their criteria."""
    values, weights = [], []
    for f in found[:7]:
        values.append(_says(f, rows))
        weights.append(math.exp(SHARP * (found[0].criterion - f.criterion)))
    stack, w = np.array(values), np.array(weights)[:, None]
    sound = np.isfinite(stack)
    order = np.argsort(np.where(sound, stack, np.inf), axis=0)
    ranked = np.take_along_axis(np.where(sound, w, 0.0), order, axis=0)
    reached = np.cumsum(ranked, axis=0)
    at = (reached >= 0.5 * reached[-1]).argmax(axis=0)
    middle: Array = np.take_along_axis(np.take_along_axis(stack, order, axis=0), at[None], axis=0)[0]
    return middle


def _says(f: Fitted, rows: Table) -> Array:
    out = np.full(rows.n_rows, np.nan)
    for g, group in enumerate(rows.groups):
        own = rows.group_index == g
        if group in f.result.constants:
            columns = {v.symbol: np.ascontiguousarray(rows.X[own, i]) for i, v in enumerate(rows.variables)}
            out[own] = evaluate(f.form.expression, columns, f.result.constants[group])
    return out


def r2(pool: Pool, prediction: Array) -> float:
    """Return R² on the target region, cut at -1; the mean of the rows where there is no prediction counts as -1."""
    y = pool.target.Y[:, 0]
    if not np.isfinite(prediction).all():
        return -1.0
    with np.errstate(over="ignore"):
        return max(-1.0, 1.0 - float(((y - prediction) ** 2).mean() / y.var()))


# --- methods --------------------------------------------------------------------------------------------------------


def bought(method: str, pool: Pool, have: Rows, found: Sequence[Fitted], money: float, seed: int) -> Rows:
    """Return the rows of the pool that a method pays for with some money."""
    number = METHODS.index(method) if method in METHODS else len(METHODS)
    rng = np.random.default_rng([seed, len(have), number])
    rest = np.setdiff1d(np.arange(pool.rows.n_rows), have)
    if method.startswith(PUBLIC):
        return _public(method.partition(":")[2], pool, have, money, seed)
    if method == "random":
        return _in_order(rng.permutation(rest), pool, money)
    if method == "cheapest":
        return _in_order(rest[np.argsort(pool.cost[rest], kind="stable")], pool, money)
    if method == "inverse":
        w = 1 / pool.cost[rest]
        return _in_order(rng.choice(rest, len(rest), replace=False, p=w / w.sum()), pool, money)
    if not found:
        return _in_order(rng.permutation(rest), pool, money)
    if method == "ours":
        return _ours(pool, have, rest, found, money)
    return _classical(method, pool, have, rest, found[0], money)


def _public(python: str, pool: Pool, have: Rows, money: float, seed: int) -> Rows:
    table = pool.rows
    logs = [
        np.log(x) if v.log is None and (x > 0).all() else x for v, x in zip(table.variables, table.X.T, strict=True)
    ]
    one_hot = np.eye(len(table.groups))[table.group_index] if len(table.groups) > 1 else np.zeros((table.n_rows, 0))
    X = np.column_stack([*[(x - x.mean()) / (x.std() or 1.0) for x in logs], one_hot])
    job = {"X": X.tolist(), "y": table.Y[:, 0].tolist(), "cost": pool.cost.tolist(), "money": money,
           "have": have.tolist(), "seed": seed}  # fmt: skip
    done = subprocess.run([python, "-c", _IGS], input=json.dumps(job), capture_output=True, text=True, check=True)
    return np.array(json.loads(done.stdout), dtype=np.intp)


def _in_order(order: Rows, pool: Pool, money: float) -> Rows:
    kept = []
    for i in order:
        if pool.cost[i] <= money:
            kept.append(i)
            money -= pool.cost[i]
    return np.array(kept, dtype=np.intp)


def _jacobian(f: Fitted, rows: Table, groups: Sequence[str]) -> Array:
    """Return (n_rows, n_constants) derivatives: shared constants, then those of each group."""
    settings = f.form.settings
    shared = tuple(c for c in f.form.expression.constants if c in settings.shared) if len(groups) > 1 else ()
    tape = compile_tape(f.form.expression, shared=shared, project=False)
    names, n_shared = tape.constants, len(shared)
    own = len(names) - n_shared
    J = np.zeros((rows.n_rows, n_shared + own * len(groups)))
    columns = tape.column_values(rows.inputs, rows.n_rows)
    for g, group in enumerate(rows.groups):
        at = np.flatnonzero(rows.group_index == g)
        if group not in groups:
            continue
        theta = np.array([[f.result.constants[group][c] for c in names]])
        part = value_and_jacobian(tape, np.ascontiguousarray(columns[:, at]), theta)[1][0].T
        J[at[:, None], np.arange(n_shared)] = part[:, :n_shared]
        k = groups.index(group)
        J[at[:, None], n_shared + k * own + np.arange(own)] = part[:, n_shared:]
    return np.nan_to_num(J, nan=0.0, posinf=0.0, neginf=0.0)


def _classical(method: str, pool: Pool, have: Rows, rest: Rows, best: Fitted, money: float) -> Rows:
    groups = list(best.result.constants)
    J, T = _jacobian(best, pool.rows, groups), _jacobian(best, pool.target, groups)
    scale = np.maximum(np.linalg.norm(J, axis=0), 1e-300)
    J, T = J / scale, T / scale
    M = J[have].T @ J[have]
    inverse = np.linalg.inv(M + 1e-9 * max(np.trace(M), 1e-12) / len(M) * np.eye(len(M)))
    chosen: list[int] = []
    left = rest.copy()
    while True:
        left = left[pool.cost[left] <= money]
        if not len(left):
            return np.array(chosen, dtype=np.intp)
        L = J[left] @ inverse
        own = 1 + np.einsum("ij,ij->i", L, J[left])
        gain = np.log(own) if method == "dopt" else ((T @ L.T) ** 2).sum(axis=0) / own
        at = int(np.argmax(gain / pool.cost[left]))
        inverse = inverse - np.outer(L[at], L[at]) / own[at]
        chosen.append(int(left[at]))
        money -= float(pool.cost[left[at]])
        left = np.delete(left, at)


def _ours(pool: Pool, have: Rows, rest: Rows, found: Sequence[Fitted], money: float) -> Rows:
    table = pool.rows.take(have)
    column = table.targets[0].column
    alive = [f for f in found[:8] if set(table.groups) <= set(f.result.constants)]
    best = alive[0]
    law = Law(
        {column: best.form.expression}, {column: best.result.constants}, table.variables, table.targets,
        group_column=table.group_column, settings={column: best.form.settings},
    )  # fmt: skip
    rivals = [
        intervals.Rival({column: f.form.expression}, {column: f.result.constants})
        for f in alive[1:]
        if f.criterion < best.criterion + RIVAL
    ]
    law = Law(**{**law.__dict__, "intervals": intervals.compute(law, table, (), replicates=24, rivals=rivals)})
    everything = np.vstack([pool.rows.X, pool.target.X])
    ends = {v.symbol: (float(everything[:, i].min()), float(everything[:, i].max()))
            for i, v in enumerate(table.variables)}  # fmt: skip
    parts = Parts(table.variables, ends)
    groups = [g for g in pool.rows.groups if g in table.groups]
    sides = {g: Side(g, law, column, g if law.grouped else "all") for g in groups}
    for side in sides.values():
        parts.part(law, column, side.group)
    answers = []
    for g, group in enumerate(pool.target.groups):
        rows = pool.target.group_index == g
        if rows.any() and group in sides:
            columns = {v.symbol: np.ascontiguousarray(pool.target.X[rows, i]) for i, v in enumerate(table.variables)}
            answers += prediction(parts, sides[group], columns)
    can = rest[np.isin(np.array(pool.rows.groups)[pool.rows.group_index[rest]], groups)]
    number = {g: k for k, g in enumerate(groups)}
    of = np.array([number[pool.rows.groups[g]] for g in pool.rows.group_index[can]], dtype=np.intp)
    candidates = Candidates(
        {v.symbol: np.ascontiguousarray(pool.rows.X[can, i]) for i, v in enumerate(table.variables)},
        tuple(groups), of, pool.cost[can],
    )  # fmt: skip
    belief = belief_of(parts, sides, candidates, answers)
    have_of = np.array([number[g] for g in np.array(table.groups)[table.group_index]], dtype=np.intp)
    whole = places(
        parts,
        {s: np.concatenate([x, table.column(s)]) for s, x in candidates.columns.items()},
        np.concatenate([of, have_of]),
        len(groups),
    )
    order = {parts.part(law, column, s.group).number: k for k, s in enumerate(sides.values())}
    near = asked_places(answers, order, len(groups))
    choice = choose(belief, candidates.cost, whole[: len(can)], whole[len(can) :], Rules(money, guard=GUARD), near)
    return can[list(choice.chosen)]


# --- the play -------------------------------------------------------------------------------------------------------


def play(pool: Pool, seed: int, methods: Sequence[str]) -> dict[str, Any]:
    """Return method to R² at each budget."""
    rng = np.random.default_rng(seed)
    begin = start_rows(pool, rng)
    forms = forms_of(pool.rows.take(begin), seed)
    out: dict[str, Any] = {"start": {"rows": len(begin), "share": float(pool.cost[begin].sum() / pool.cost.sum())}}
    out["all"] = r2(pool, predicted(fitted(forms, pool.rows), pool.target))
    for method in methods:
        have, scores = begin, {}
        clock = time.process_time()
        for budget in BUDGETS:
            money = budget * pool.cost.sum() - pool.cost[have].sum()
            if money <= 0:
                continue
            for share in (0.5, 1.0):
                left = share * (budget * pool.cost.sum() - pool.cost[have].sum())
                found = fitted(forms, pool.rows.take(have))
                more = bought(method, pool, have, found, left, seed)
                have = np.union1d(have, more)
            found = fitted(forms, pool.rows.take(have))
            scores[str(budget)] = r2(pool, predicted(found, pool.target)) if found else -1.0
        out[method.partition(":")[0]] = {"r2": scores, "rows": len(have), "cpu": time.process_time() - clock}
    return out


def report(results: dict[str, Any]) -> str:
    """Return the table of the figures."""
    lines = [
        "| budget | pools | all | " + " | ".join(METHODS) + " | above vopt | above random "
        f"| at or above all | within {NEAR:g} of all, or above |",
        "|" + "---|" * (7 + len(METHODS)),
    ]
    for budget in map(str, BUDGETS):
        per: dict[str, list[float]] = {m: [] for m in ("all", *METHODS)}
        for plays in results.values():
            played = [p for p in plays.values() if all(budget in p[m]["r2"] for m in METHODS if m in p)]
            if played:
                per["all"].append(fmean(p["all"] for p in played))
                for m in METHODS:
                    if all(m in p for p in played):
                        per[m].append(fmean(p[m]["r2"][budget] for p in played))
        shown = [f"{fmean(per[m]):.3f}" if per[m] else "-" for m in ("all", *METHODS)]
        if per["ours"] and per["random"] and per["vopt"]:
            n = len(per["ours"])
            shown.append(f"{fmean(per['ours']) - fmean(per['vopt']):+.3f}")
            shown += [f"{sum(a > b for a, b in zip(per['ours'], per['random'], strict=True))} of {n}",
                      f"{sum(a >= b for a, b in zip(per['ours'], per['all'], strict=True))} of {n}",
                      f"{sum(a >= b - NEAR for a, b in zip(per['ours'], per['all'], strict=True))} of {n}"]  # fmt: skip
        lines.append(f"| {100 * float(budget):g} % | {len(per['all'])} | " + " | ".join(shown) + " |")
    pairs: dict[str, list[tuple[float, float]]] = {}
    for plays in results.values():
        for p in plays.values():
            for budget, value in p.get(PUBLIC, {}).get("r2", {}).items():
                pairs.setdefault(budget, []).append((p["ours"]["r2"][budget], value))
    for budget, both in pairs.items():
        ours, theirs = (fmean(x) for x in zip(*both, strict=True))
        lines.append(
            f"\nBeside {PUBLIC} at {100 * float(budget):g} % ({len(both)} plays): ours {ours:.3f}, {theirs:.3f}"
        )
    return "\n".join(lines)


def by_pool(results: dict[str, Any]) -> str:
    """Return a table of what each pool gives at the largest budget."""
    budget = str(BUDGETS[-1])
    lines = ["| pool at 10 % | all | " + " | ".join(METHODS) + " |", "|" + "---|" * (2 + len(METHODS))]
    for name, plays in sorted(results.items()):
        played = [p for p in plays.values() if budget in p["ours"]["r2"]]
        if played:
            values = [fmean(p["all"] for p in played), *(fmean(p[m]["r2"][budget] for p in played) for m in METHODS)]
            lines.append(f"| {name} | " + " | ".join(f"{v:.2f}" for v in values) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default=",".join((*LOOKED_AT, *OTHERS)))
    parser.add_argument("--seeds", default="0-9")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--name", default="next")
    parser.add_argument("--public", default="", help="interpreter that has scikit-activeml")
    args = parser.parse_args()
    path = HERE / "results" / f"{args.name}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    first, _, last = args.seeds.partition("-")
    wished = [str(seed) for seed in range(int(first), int(last) + 1)] if last else args.seeds.split(",")
    for name in args.pools.split(","):
        folder = next((args.data / s / name for s in SUITES if (args.data / s / name / "task.toml").is_file()), None)
        if folder is None:
            print(f"{name}: not there")
            continue
        pool = Pool.of(name, folder)
        for seed in wished:
            plays = results.setdefault(name, {})
            wanted = [*args.methods.split(","), *([f"{PUBLIC}:{args.public}"] if args.public else [])]
            methods = [m for m in wanted if m.partition(":")[0] not in plays.get(seed, {})]
            if methods:
                plays[seed] = {**plays.get(seed, {}), **play(pool, int(seed), methods)}
                path.write_text(json.dumps(results, indent=1) + "\n")
            own = {
                m: [round(v, 3) for v in plays[seed][m]["r2"].values()] for m in (*METHODS, PUBLIC) if m in plays[seed]
            }
            print(name, seed, plays[seed]["start"], "all", round(plays[seed]["all"], 3), own,
                  {m: round(plays[seed][m]["cpu"], 1) for m in own}, flush=True)  # fmt: skip
    others = {name: plays for name, plays in results.items() if name in OTHERS}
    text = report(results)
    if 0 < len(others) < len(results):
        text += f"\n\nThe {len(others)} pools by which nothing was chosen:\n\n" + report(others)
    print(text)
    about = (__doc__ or "").strip().partition("\n\nA pool")[0].partition("\n\n")
    head = f"# {about[0].rstrip('.')}\n\n```\n{about[2].strip()}\n```\n\n"
    seeds = ", ".join(sorted({seed for plays in results.values() for seed in plays}, key=int))
    pools = f"{len(results)} pools, seeds {seeds}: mean R² of the held-out rows"
    told = f"{pools}, cut at -1. How it is played stands at the head of the script.\n\n"
    (HERE / f"{args.name}.md").write_text(head + told + text + "\n\n" + by_pool(results) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
