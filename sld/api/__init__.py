"""What Python users and the commands call: discover, fit, predict and score, from tasks, files or DataFrames.

Heavy modules are imported by the function that needs them, so that `sld tasks` does not wait for the engine.
"""

from sld.api.alignment import curve_alignment
from sld.api.allocation import allocate
from sld.api.board import Submitted, leaderboard, submit
from sld.api.clusters import Searched, discover_many
from sld.api.collecting import collect
from sld.api.comparing import compare
from sld.api.counting import count, plausibility
from sld.api.counts import passk
from sld.api.curves import curve, curve_law
from sld.api.diagnosing import diagnose
from sld.api.discovery import discover, dry_run
from sld.api.downstream import downstream
from sld.api.families import families
from sld.api.fitting import fit
from sld.api.forms import ChosenForm, find_form
from sld.api.items import downstream_items
from sld.api.laws import (
    as_law,
    caution,
    held_out_scores,
    points_to_predict,
    predict,
    predicted_columns,
    rows_to_score,
    score,
    warnings,
)
from sld.api.planning import check_design, next_runs
from sld.api.reinforcement import rl, utd
from sld.api.runs import load_run, markdown_report, read_decision, report
from sld.api.sensitivities import sensitivity
from sld.api.settings import optimum, worth
from sld.api.suites import search_suite, suite_tasks
from sld.api.sweeps import isoflop
from sld.api.tasks import as_task, check, known_tasks, task_details, task_list

__all__ = [
    "ChosenForm",
    "Searched",
    "Submitted",
    "allocate",
    "as_law",
    "as_task",
    "caution",
    "check",
    "check_design",
    "collect",
    "compare",
    "count",
    "curve",
    "curve_alignment",
    "curve_law",
    "diagnose",
    "discover",
    "discover_many",
    "downstream",
    "downstream_items",
    "dry_run",
    "families",
    "find_form",
    "fit",
    "held_out_scores",
    "isoflop",
    "known_tasks",
    "leaderboard",
    "load_run",
    "markdown_report",
    "next_runs",
    "optimum",
    "passk",
    "plausibility",
    "points_to_predict",
    "predict",
    "predicted_columns",
    "read_decision",
    "report",
    "rl",
    "rows_to_score",
    "score",
    "search_suite",
    "sensitivity",
    "submit",
    "suite_tasks",
    "task_details",
    "task_list",
    "utd",
    "warnings",
    "worth",
]
