"""The cases: what is searched in each table, and how one sees from what was written whether that is right."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable

import numpy as np
from case_runs import (
    CASES,
    Outcome,
    Trial,
    breaks,
    case,
    extreme,
    free_constants,
    held_out,
    note_with,
    said,
    sensitivity,
    table,
)

_LONGER = "10000fits"  # for tables of a few rows, which take no time


@case("groups in two orders", "the same law and intervals whatever the order of groups, in process and from disk")
def _groups(trial: Trial) -> Outcome:
    told = []
    for name in ("groups_alpha_first.csv", "groups_zeta_first.csv"):
        found = trial.discover(name, "--target", "loss", "--scale", "N", "--group", "family")
        told.append(trial.predict(found, "groups_points.csv"))
    columns = ["loss", "loss_low", "loss_high"]
    if any(list(t.columns) != columns for t in told):
        return Outcome(False, "no predictions")
    cell = "; ".join(
        f"{first} first: zeta {t.loss[0]:.4g} [{t.loss_low[0]:.3g}, {t.loss_high[0]:.3g}]"
        for first, t in zip(("alpha", "zeta"), told, strict=True)
    )
    same = bool(np.allclose(told[0], told[1], rtol=1e-12, atol=0))
    return Outcome(same, cell)


_IN_PROCESS = """
import sys, numpy as np, pandas as pd, sld
rows, points = pd.read_csv(sys.argv[1]), pd.read_csv(sys.argv[2])
found = sld.discover(rows, target="loss", scale="N", group="family", budget=sys.argv[3], workers=1, out="in_process")
here, there = sld.predict(found.law, points), sld.predict("in_process", points)
print(max(float(np.max(np.abs(here[n] - there[n]))) for n in here), here["loss_low"][0], there["loss_low"][0])
"""


@case("groups, in process and from disk", "to the bit the same")
def _in_process(trial: Trial) -> Outcome:
    files = [str(CASES / f"groups_{name}.csv") for name in ("zeta_first", "points")]
    done = subprocess.run(
        [sys.executable, "-c", _IN_PROCESS, *files, trial.budget],
        env={**os.environ, "PYTHONPATH": str(trial.tree)},
        cwd=trial.place,
        capture_output=True,
        text=True,
    )
    trial.commands.append("sld.predict(found.law, points) and sld.predict(folder, points)")
    if done.returncode:
        return Outcome(False, done.stderr.strip().splitlines()[-1])
    most, here, there = map(float, done.stdout.split())
    return Outcome(
        most == 0.0, f"largest difference {most:.3g} (zeta's low: {here:.3g} in process, {there:.3g} from disk)"
    )


def _insurance(name: str) -> Callable[[Trial], Outcome]:
    def judge(trial: Trial) -> Outcome:
        targets = "test_poisson_deviance,train_poisson_deviance"
        found = trial.discover(name, "--target", targets, "--scale", "n_train", "--group", "config_name")
        if found.said.code:
            return Outcome(False, found.said.refusal)
        rows = table(name)
        points = len(rows[["config_name", "n_train"]].drop_duplicates())
        n = max(free_constants(found))
        fault = breaks(found, rows, ["n_train"], "config_name")
        few = n < points and (n <= 0.8 * points or found.verdict != "law")
        cell = f"{found.formula}; {n} constants on {points} points, {found.verdict}; {fault or 'no pole or spike'}"
        return Outcome(not fault and few, cell)

    return judge


case("insurance, all sizes", "no pole or spike, and constants counted against distinct points")(
    _insurance("insurance_run_scores.csv")
)
case("insurance, smaller sizes", "no pole or spike, and constants counted against distinct points")(
    _insurance("insurance_train.csv")
)


@case("interatomic potentials, a failed run", "the run with 21.8 is named and set aside; held-out R² as without it")
def _mace(trial: Trial) -> Outcome:
    options = ("--target", "f", "--scale", "n", "--group", "model")
    found = trial.discover("mace_forces_train.csv", *options)
    reached = held_out(trial, found, "mace_forces_held.csv", "f")
    clean = table("mace_forces_train.csv")
    clean[clean.f < 5].to_csv(trial.place / "clean.csv", index=False)
    without = held_out(trial, trial.discover("clean.csv", *options), "mace_forces_held.csv", "f")
    named = "21.8" in found.notes or "21.79" in found.notes
    cell = f"held-out R² {reached:.3f}, {without:.3f} without the row; {found.formula}; {note_with(found, '21.')}"
    return Outcome(named and reached > max(0.9, without - 0.05), cell)


@case("interatomic potentials, all models", "a law without pole or spike")
def _mace_all(trial: Trial) -> Outcome:
    found = trial.discover("mace_learning.csv", "--target", "f", "--scale", "n", "--group", "model")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    fault = breaks(found, table("mace_learning.csv"), ["n"], "model")
    return Outcome(not fault, f"{found.formula}, {found.verdict}; {fault or 'no pole or spike'}")


@case(
    "accuracy with a bound", "the bound holds as far as the law is supported, and the interval has the prediction in it"
)
def _bound(trial: Trial) -> Outcome:
    found = trial.discover(
        "accuracy_bound.csv", "--target", "acc", "--scale", "n", "--upper", "1", "--better", "higher"
    )
    if found.said.code:
        return Outcome(False, found.said.refusal)
    ends = np.geomspace(500, found.reach.get("n", 5e4), 60)
    told = trial.predict(found, {"n": ends})
    inside = bool(((told.acc_low <= told.acc) & (told.acc <= told.acc_high)).all()) if "acc_low" in told else True
    last = told.iloc[-1]
    cell = f"{found.verdict} up to n = {ends[-1]:.3g}, where it says {last.acc:.4g}"
    cell += f" [{last.acc_low:.3g}, {last.acc_high:.3g}]" if "acc_low" in told else ""
    return Outcome(bool((told.acc <= 1 + 1e-9).all()) and inside, f"{cell}; {found.formula}")


@case("growth below its ceiling", "support ends where the law's own interval spans more than the data do")
def _growth(trial: Trial) -> Outcome:
    found = trial.discover("growth_curve.csv", "--target", "od", "--scale", "t")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    rows = table("growth_curve.csv")
    end = found.reach.get("t", float(rows.t.max()))
    told = trial.predict(found, {"t": [end]}).iloc[-1]
    width, span = told.od_high - told.od_low, float(np.ptp(rows.od))
    cell = f"{found.verdict} up to t = {end:.3g}, there {told.od:.3g} [{told.od_low:.3g}, {told.od_high:.3g}]"
    return Outcome(found.verdict != "law" or width <= span, f"{cell}; the data span {span:.2g}; {found.formula}")


@case(
    "drug response, noise falls 500-fold", "replicates give the weights: held-out error near 3 %, intervals as narrow"
)
def _noise(trial: Trial) -> Outcome:
    found = trial.discover("drugresp_mae_train.csv", "--target", "score", "--scale", "tr_size")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    told, y = trial.predict(found, "drugresp_mae_held.csv"), table("drugresp_mae_held.csv").score.to_numpy()
    error = float(np.mean(np.abs(told.score - y) / y))
    width = float(np.median((told.score_high - told.score_low) / 2 / told.score))
    covered = float(np.mean((told.score_low <= y) & (y <= told.score_high)))
    cell = f"mean held-out error {100 * error:.1f} %, interval ±{100 * width:.0f} % (covers {100 * covered:.0f} %)"
    return Outcome(error < 0.05 and width < 0.25 and covered >= 0.7, f"{cell}; {found.formula}")


@case("learning rate with two values", "two values have no shape: said so, and no nonsense outside them")
def _two_values(trial: Trial) -> Outcome:
    options = ("--target", "obj_loss_bits_indist", "--scale", "docs", "--hyper", "lr")
    found = trial.discover("bits_lr_sweep.csv", *options)
    if found.said.code:
        return Outcome("lr" in found.said.err and "two" in found.said.text, found.said.refusal)
    rows = table("bits_lr_sweep.csv")
    told = trial.predict(found, {"docs": [float(rows.docs.max())], "lr": [1e-4]})
    y = rows.obj_loss_bits_indist
    value = float(told.obj_loss_bits_indist[0])
    warned = told.attrs["said"].err.strip() != "" and "lr" in told.attrs["said"].err
    hint = bool(re.search(r"\blr\b[^|]*\b(two|2) (values|levels)|\b(two|2) (values|levels)[^|]*\blr\b", found.notes))
    cell = f"at lr = 1e-4 (a third of the smallest) {value:.3g} ({'warned' if warned else 'no warning'})"
    sane = abs(value) < 10 * float(y.max())
    return Outcome(sane and hint and warned, f"{cell}; {note_with(found, 'lr')}; {found.formula}")


@case("bits, one learning rate at a time", "a law without pole or spike")
def _docs(trial: Trial) -> Outcome:
    found = trial.discover(
        "bits_docs_train.csv", "--target", "obj_loss_bits_indist", "--scale", "docs", "--group", "lr"
    )
    if found.said.code:
        return Outcome(False, found.said.refusal)
    fault = breaks(found, table("bits_docs_train.csv"), ["docs"], "lr")
    n, points = max(free_constants(found)), len(table("bits_docs_train.csv")[["docs", "lr"]].drop_duplicates())
    cell = f"{found.formula}, {found.verdict}; {n} constants on {points} points; {fault or 'no pole or spike'}"
    return Outcome(not fault and n <= 0.8 * points, cell)


@case("optimal rate against width", "c/width, and no difference of nearly equal numbers")
def _width(trial: Trial) -> Outcome:
    found = trial.discover("lr_by_width.csv", "--target", "sp_lr", "--scale", "width", budget=_LONGER)
    if found.said.code:
        return Outcome(False, found.said.refusal)
    rows = table("lr_by_width.csv")
    width = np.array([4096.0, 16384.0])
    told = trial.predict(found, {"width": width}).sp_lr.to_numpy()
    ratio = told / (0.125 / width)
    cancel = sensitivity(found, rows[["width"]])
    text = found.law.text()
    cell = f"{text}; at 8 times the width {ratio[1]:.3g} of 1/width's; a constant's error grows {cancel:.3g}-fold"
    few = max(free_constants(found)) <= 2  # there are five points
    return Outcome(bool((np.abs(ratio - 1) < 0.15).all()) and cancel < 100 and few, cell)


@case("zeros below a threshold", "a constant has one role")
def _roles(trial: Trial) -> Outcome:
    found = trial.discover("logistic_zeros.csv", "--target", "y", "--covariate", "x", budget=_LONGER)
    if found.said.code:
        return Outcome(False, found.said.refusal)
    law = found.law
    text = law.expressions["y"].text
    twice = [c for c in law.expressions["y"].constants if len(re.findall(rf"\b{re.escape(c)}\b", text)) > 1]
    return Outcome(
        not twice, f"{text}, {found.verdict}; {'twice: ' + ', '.join(twice) if twice else 'each constant once'}"
    )


@case(
    "single cells, unnamed columns",
    "“rows counted as repeats differ in algorithm”; no terms that cancel",
)
def _unnamed(trial: Trial) -> Outcome:
    found = trial.discover(
        "singlecell_train.csv", "--target", "mi_value", "--scale", "size,umis_per_cell", "--group", "dataset"
    )
    if found.said.code:
        return Outcome(False, found.said.refusal)
    rows = table("singlecell_train.csv")
    cancel = sensitivity(found, rows[["size", "umis_per_cell", "dataset"]])
    # signal has one value in these rows, so it tells nothing apart
    hint = said(found, "algorithm")
    cell = (
        f"{note_with(found, 'algorithm')}; {found.formula}, {found.verdict}; a constant's error grows {cancel:.3g}-fold"
    )
    return Outcome(hint and cancel < 1000, cell)


@case("single cells, by curve", "held-out R² of a law that is well-conditioned")
def _curves(trial: Trial) -> Outcome:
    options = ("--target", "mi_value", "--scale", "size,umis_per_cell", "--group", "curve")
    found = trial.discover("singlecell_train.csv", *options)
    reached = held_out(trial, found, "singlecell_held.csv", "mi_value")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    cancel = sensitivity(found, table("singlecell_train.csv")[["size", "umis_per_cell", "curve"]])
    cell = f"held-out R² {reached:.3f}; {found.formula}, {found.verdict}; a constant's error grows {cancel:.3g}-fold"
    return Outcome(reached > 0.5 and cancel < 1000, cell)


@case(
    "vision runs, intervals of constants", "refits move, or the interval is said to be unknown; constants within 1e±30"
)
def _refits(trial: Trial) -> Outcome:
    cells, good = [], True
    for group in ("model_size", "run_id"):
        found = trial.discover("fvlm_train.csv", "--target", "val_loss", "--scale", "samples_seen", "--group", group)
        if found.said.code:
            return Outcome(False, found.said.refusal)
        still = sum(f"{low:.3g}" == f"{high:.3g}" and low != 0 for _, _, low, high in found.intervals)
        outside = sum(not low - 1e-9 * abs(v) <= v <= high + 1e-9 * abs(v) for _, v, low, high in found.intervals)
        far = extreme(found)
        good = good and not still and not outside and not far
        reached = held_out(trial, found, "fvlm_held.csv", "val_loss")
        n = len(found.intervals)
        cell = f"by {group}: {still} of {n} intervals have no width, {outside} miss their estimate"
        cells.append(f"{cell}; {far or 'none beyond 1e±30'}; held-out R² {reached:.3f}")
    return Outcome(good, "; ".join(cells))


@case("vision runs, sizes as 135M", "135M is read as 1.35e8, with a note")
def _sizes(trial: Trial) -> Outcome:
    found = trial.discover("fvlm_train.csv", "--target", "val_loss", "--scale", "model_size,samples_seen")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    reached = held_out(trial, found, "fvlm_held.csv", "val_loss")
    cell = f"{found.formula}, {found.verdict}; held-out R² {reached:.3f}; {note_with(found, 'model_size')}"
    return Outcome(said(found, "135M"), cell)


@case("vision runs, summaries", "sizes are read; a table of one size has no law of size")
def _summaries(trial: Trial) -> Outcome:
    found = trial.discover("fvlm_run_summaries.csv", "--target", "best_val_loss", "--scale", "model_size,total_samples")
    clear = found.said.code == 2 and "Traceback" not in found.said.err and "135M" not in found.said.err
    cell = (
        found.said.refusal if found.said.code else f"{found.formula}, {found.verdict}; {note_with(found, 'model_size')}"
    )
    return Outcome(clear or found.said.code == 0, cell)


@case("overfitting on part of the data", "constants stay within what numbers can carry")
def _percent(trial: Trial) -> Outcome:
    cells, good = [], True
    for options, scale, group in (
        (("--scale", "params,data_pct"), ["params", "data_pct"], None),
        (("--scale", "data_pct", "--group", "model"), ["data_pct"], "model"),
    ):
        found = trial.discover("data_percent.csv", "--target", "val_loss", *options, budget=_LONGER)
        if found.said.code:
            return Outcome(False, found.said.refusal)
        far = extreme(found)
        fault = breaks(found, table("data_percent.csv"), scale, group)
        good = good and not far and not fault
        cells.append(f"{found.formula}, {found.verdict}; {far or 'no constant beyond 1e±30'}; {fault or 'no pole'}")
    return Outcome(good, "; ".join(cells))


@case("two outliers", "both are set aside; a fold that failed speaks against the verdict")
def _outliers(trial: Trial) -> Outcome:
    found = trial.discover("two_outliers.csv", "--target", "y", "--scale", "d,N")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    worst = max((f["nmse"] or math.inf for f in found.said.json.get("folds", [])), default=math.nan)
    named = all(value in found.notes for value in ("17.2", "16.8"))
    agrees = found.verdict != "law" or worst < 1
    cell = f"{found.verdict}, worst fold {worst:.3g}; {note_with(found, 'diverged')}; {found.formula}"
    return Outcome(named and agrees, cell)


@case("two outliers, with standard errors", "the column of standard errors is used")
def _yerr(trial: Trial) -> Outcome:
    found = trial.discover("two_outliers.csv", "--target", "y", "--scale", "d,N", "--yerr", "yerr")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    report = (found.folder / "report.md").read_text(encoding="utf-8")
    return Outcome("yerr" in report + found.notes, f"{found.formula}, {found.verdict}; {note_with(found, 'yerr')}")


@case("six sizes on one grid of tokens", "a warning where the design cannot tell N from D, with what to run")
def _design(trial: Trial) -> Outcome:
    found = trial.discover("six_sizes_one_grid.csv", "--target", "loss", "--scale", "N,D")
    if found.said.code:
        return Outcome(False, found.said.refusal)
    warned = bool(re.search(r"tell[^|]*apart|told apart|cannot (be )?(tell|separate|distinguish)|design", found.notes))
    word = next((w for w in ("apart", "design", "distinguish") if w in found.notes), "apart")
    return Outcome(warned, f"{note_with(found, word)}; {found.formula}, {found.verdict}")


@case("rungs that were tuned too little", "an option fits the envelope, and one-sided residuals bring a hint")
def _envelope(trial: Trial) -> Outcome:
    found = trial.discover("undertuned_rungs.csv", "--target", "loss", "--scale", "N,D")
    rows = table("undertuned_rungs.csv")
    fit = trial.run(
        "fit", "undertuned_rungs.csv", "--target", "loss", "--scale", "N,D", "--law", "E + A*N**-a + B*D**-b",
        "--loss", "envelope", "--out", str(trial.place / "envelope"), "--json",
    )  # fmt: skip
    hint = said(found, "envelope")
    if fit.code:
        return Outcome(False, f"{fit.refusal}; hint {'given' if hint else 'not given'}")
    from sld.laws.law import Law

    law = Law.load(trial.place / "envelope")
    value = law.predict({"N": rows.N.to_numpy(), "D": rows.D.to_numpy()})[:, 0]
    best = rows.assign(fit=value).groupby(["N", "D"]).agg(best=("loss", "min"), fit=("fit", "first"))
    off = float(np.mean(np.abs(best.fit / best.best - 1)))
    below = float(np.mean(rows.loss >= value * 0.995))
    cell = f"{100 * below:.0f} % of runs at or above the envelope, {100 * off:.1f} % from the best runs; hint "
    return Outcome(hint and below > 0.8, cell + ("given" if hint else "not given"))


@case("no header", "“the first line looks like data: is the header missing?”")
def _header(trial: Trial) -> Outcome:
    got = trial.discover("no_header.csv", "--target", "mH", "--scale", "p").said
    asked = re.search(r"header[^;]*missing|missing header|first line", got.err.replace("no_header", ""))
    return Outcome(got.code == 2 and asked is not None, got.refusal)


@case("JSON lines", "read as a table, sizes as 1M too")
def _lines(trial: Trial) -> Outcome:
    found = trial.discover("runs.jsonl", "--target", "final_val_loss", "--scale", "total_tokens,size")
    clear = found.said.code == 2 and "'target' is for bare tables" not in found.said.err
    cell = found.said.refusal if found.said.code else f"{found.formula}, {found.verdict}; {note_with(found, 'size')}"
    few = "row" in found.said.err or "rung" in found.said.err  # four rows are few: said so
    return Outcome(found.said.code == 0 or (clear and few), cell)


@case("JSON records", "read as a table")
def _records(trial: Trial) -> Outcome:
    found = trial.discover("isoflops_curves.json", "--target", "final_loss", "--scale", "parameters,compute_budget")
    cell = found.said.refusal if found.said.code else f"{found.formula}, {found.verdict}"
    return Outcome(found.said.code == 0, cell)


@case("an export with a column per run", "step 0 can be dropped and the export melted, and the messages say so")
def _wide(trial: Trial) -> Outcome:
    first = trial.discover("wandb_export_wide.csv", "--target", "14b", "--scale", "Step", "--missing", "drop").said
    offered = "--drop" in first.err + first.out
    options = ("--scale", "Step", "--group", "run", "--melt", "--drop", "Step==0", "--missing", "drop")
    found = trial.discover("wandb_export_wide.csv", "--target", "reward", *options)
    got = found.said.refusal if found.said.code else f"{found.formula}, {found.verdict}"
    return Outcome(offered and found.said.code == 0, f"{first.refusal}; melted: {got}")
