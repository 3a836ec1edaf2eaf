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

if TYPE_CHECKING:
    from sld.api import allocate, check_design, discover, fit, leaderboard, next_runs, predict, score, submit
    from sld.core.errors import DataError, GrammarError, SldError, UsageError
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
        "discover",
        "fit",
        "leaderboard",
        "next_runs",
        "predict",
        "score",
        "submit",
    ),
    "sld.data.bundled": ("add_tasks_root", "bundled_tasks"),
    "sld.data.card": ("Card", "Target", "Variable"),
    "sld.core.errors": ("DataError", "GrammarError", "SldError", "UsageError"),
    "sld.formula.expression": ("Expression", "parse"),
    "sld.laws.equivalence": ("equivalent",),
    "sld.laws.law": ("Law",),
    "sld.data.scoring": ("Scores",),
    "sld.data.table": ("Table", "table_from"),
    "sld.data.task": ("Task", "load_task", "task_from"),
    "sld.search.outcome": ("Discovery",),
    "sld.search.llm.settings": ("LLM",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "LLM",
    "Card",
    "DataError",
    "Discovery",
    "Expression",
    "GrammarError",
    "Law",
    "Scores",
    "SldError",
    "Table",
    "Target",
    "Task",
    "UsageError",
    "Variable",
    "add_tasks_root",
    "allocate",
    "bundled_tasks",
    "check_design",
    "discover",
    "equivalent",
    "fit",
    "leaderboard",
    "load_task",
    "next_runs",
    "parse",
    "predict",
    "score",
    "submit",
    "table_from",
    "task_from",
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
