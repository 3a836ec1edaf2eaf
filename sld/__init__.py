"""Discover scaling laws: search formulas, fit every constant, judge by extrapolation.

>>> import sld
>>> task = sld.load_task("nanolm_chinchilla")
>>> run = sld.discover(task, budget="20s")
>>> print(run.law.text())
>>> print(sld.score(run.law, task))
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sld.core.version import __version__ as __version__
from sld.core.views import shown_by

if TYPE_CHECKING:
    from sld.api import (
        allocate,
        check_design,
        collect,
        compare,
        count,
        curve,
        curve_alignment,
        curve_law,
        diagnose,
        discover,
        downstream,
        downstream_items,
        families,
        fit,
        isoflop,
        leaderboard,
        load_run,
        next_runs,
        optimum,
        passk,
        plausibility,
        predict,
        report,
        rl,
        score,
        sensitivity,
        submit,
        utd,
        worth,
    )
    from sld.api.regressor import ScalingLawRegressor
    from sld.core.errors import DataError, GrammarError, SldError, SldWarning, UsageError
    from sld.data.bundled import add_tasks_root, bundled_tasks
    from sld.data.card import Card, Target, Variable
    from sld.data.scoring import Scores
    from sld.data.table import Table, table_from
    from sld.data.task import Task, load_task, task_from
    from sld.formula.expression import Expression, parse
    from sld.laws.equivalence import equivalent
    from sld.laws.law import Law
    from sld.search.llm.settings import LLM
    from sld.search.outcome import Discovery

# `import sld` takes a few milliseconds: what a name needs is imported when the name is first used
_HOMES = {
    "sld.api": (
        "allocate",
        "check_design",
        "collect",
        "compare",
        "count",
        "curve",
        "curve_alignment",
        "curve_law",
        "diagnose",
        "discover",
        "downstream",
        "downstream_items",
        "families",
        "fit",
        "isoflop",
        "leaderboard",
        "load_run",
        "next_runs",
        "optimum",
        "passk",
        "plausibility",
        "predict",
        "report",
        "rl",
        "score",
        "sensitivity",
        "submit",
        "utd",
        "worth",
    ),
    "sld.api.regressor": ("ScalingLawRegressor",),
    "sld.data.bundled": ("add_tasks_root", "bundled_tasks"),
    "sld.data.card": ("Card", "Target", "Variable"),
    "sld.core.errors": ("DataError", "GrammarError", "SldError", "SldWarning", "UsageError"),
    "sld.formula.expression": ("Expression", "parse"),
    "sld.laws.equivalence": ("equivalent",),
    "sld.laws.law": ("Law",),
    "sld.data.scoring": ("Scores",),
    "sld.data.table": ("Table", "table_from"),
    "sld.data.task": ("Task", "load_task", "task_from"),
    "sld.search.outcome": ("Discovery",),
    "sld.search.llm.settings": ("LLM",),
}
shown_by("sld.analysis.showing")  # what `law.plot()` and the other methods that show a result ask
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "LLM",
    "Card",
    "DataError",
    "Discovery",
    "Expression",
    "GrammarError",
    "Law",
    "ScalingLawRegressor",
    "Scores",
    "SldError",
    "SldWarning",
    "Table",
    "Target",
    "Task",
    "UsageError",
    "Variable",
    "add_tasks_root",
    "allocate",
    "bundled_tasks",
    "check_design",
    "collect",
    "compare",
    "count",
    "curve",
    "curve_alignment",
    "curve_law",
    "diagnose",
    "discover",
    "downstream",
    "downstream_items",
    "equivalent",
    "families",
    "fit",
    "isoflop",
    "leaderboard",
    "load_run",
    "load_task",
    "next_runs",
    "optimum",
    "parse",
    "passk",
    "plausibility",
    "predict",
    "report",
    "rl",
    "score",
    "sensitivity",
    "submit",
    "table_from",
    "task_from",
    "utd",
    "worth",
]


class _Package(ModuleType):
    """The package; its `fit` is the verb, although a folder of the package has the same name.

    Whoever imports `sld.fit.fitter` makes Python put the folder's module where the verb stands: it is not let in.
    """

    @property
    def fit(self) -> Any:
        return import_module("sld.api").fit

    @fit.setter
    def fit(self, module: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sld' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
