"""What Python users and the commands call: discover, fit, predict and score, from tasks, files or DataFrames.

Heavy modules are imported by the function that needs them, so that `sld tasks` does not wait for the engine.
"""

from sld.api.allocation import allocate
from sld.api.board import Submitted, leaderboard, submit
from sld.api.discovery import discover, dry_run
from sld.api.fitting import fit
from sld.api.forms import ChosenForm, find_form
from sld.api.laws import as_law, caution, held_out_scores, predict, rows_to_score, score, warnings
from sld.api.planning import check_design, next_runs
from sld.api.tasks import as_task, known_tasks, task_details, task_list

__all__ = [
    "ChosenForm",
    "Submitted",
    "allocate",
    "as_law",
    "as_task",
    "caution",
    "check_design",
    "discover",
    "dry_run",
    "find_form",
    "fit",
    "held_out_scores",
    "known_tasks",
    "leaderboard",
    "next_runs",
    "predict",
    "rows_to_score",
    "score",
    "submit",
    "task_details",
    "task_list",
    "warnings",
]
