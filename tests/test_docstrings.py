"""Examples in docstrings are run, and what users and other rooms call most has one."""

import doctest
import importlib
import inspect

import numpy as np
from many_cases import each

MODULES = (
    "sld.analysis.curves.counts",
    "sld.analysis.curves.schedules",
    "sld.analysis.decisions.budgets",
    "sld.analysis.decisions.cost",
    "sld.analysis.decisions.crossings",
    "sld.analysis.decisions.curves",
    "sld.analysis.decisions.estimate",
    "sld.analysis.decisions.minimise",
    "sld.analysis.decisions.multiplier",
    "sld.analysis.decisions.parabola",
    "sld.analysis.decisions.spans",
    "sld.analysis.decisions.words",
    "sld.data.card",
    "sld.data.collecting.asked",
    "sld.data.collecting.counters",
    "sld.data.importers.attempt",
    "sld.data.importers.simple_yaml",
    "sld.data.counting.settings",
    "sld.data.logarithms",
    "sld.data.numbers",
    "sld.data.quantities",
    "sld.data.roles",
    "sld.data.row_filter",
    "sld.data.scoring",
    "sld.data.splits",
    "sld.data.table",
    "sld.data.task",
    "sld.fit.fitter",
    "sld.fit.fitting",
    "sld.fit.pooling",
    "sld.fit.robust",
    "sld.fit.separation",
    "sld.fit.tape",
    "sld.formula.canonical",
    "sld.formula.domain",
    "sld.formula.evaluation",
    "sld.formula.expression",
    "sld.formula.intervals",
    "sld.formula.operators",
    "sld.formula.render",
    "sld.formula.symbolic",
    "sld.laws.catalogue",
    "sld.laws.conditions",
    "sld.laws.conventions",
    "sld.laws.equivalence",
    "sld.laws.fit_settings",
    "sld.laws.law",
    "sld.laws.limits",
    "sld.laws.published",
)
WITH_EXAMPLE = (
    "sld.data.card:Variable",
    "sld.data.counting.settings:counted_settings",
    "sld.data.logarithms:base_of_name",
    "sld.data.numbers:number",
    "sld.data.quantities:quantity_of",
    "sld.data.row_filter:parse_filter",
    "sld.data.scoring:scores",
    "sld.data.splits:extrapolation_split",
    "sld.data.splits:rung_folds",
    "sld.data.splits:rungs",
    "sld.data.table:Table",
    "sld.data.table:table_from",
    "sld.data.task:load_task",
    "sld.data.task:task_from",
    "sld.fit.fitter:Fitter",
    "sld.fit.fitting:envelope_weights",
    "sld.fit.fitting:fit",
    "sld.fit.fitting:huber_weights",
    "sld.fit.pooling:shape_constants",
    "sld.fit.robust:finished",
    "sld.fit.separation:linear_constants",
    "sld.fit.tape:compile_tape",
    "sld.formula.canonical:canonical_key",
    "sld.formula.canonical:simplify",
    "sld.formula.domain:domain_bounds",
    "sld.formula.domain:ranges",
    "sld.formula.evaluation:evaluate",
    "sld.formula.expression:Expression",
    "sld.formula.expression:parse",
    "sld.formula.expression:substitute",
    "sld.formula.operators:evaluate_scalar",
    "sld.formula.render:to_latex",
    "sld.formula.render:to_mathml",
    "sld.formula.symbolic:from_sympy",
    "sld.formula.symbolic:to_sympy",
    "sld.laws.catalogue:get_law",
    "sld.laws.catalogue:match",
    "sld.laws.conditions:check_loss",
    "sld.laws.conditions:check_room",
    "sld.laws.conditions:exponents_of",
    "sld.laws.conditions:read_bounds",
    "sld.laws.conditions:read_pins",
    "sld.laws.conventions:convention_of",
    "sld.laws.conventions:conventions_differ",
    "sld.laws.equivalence:equivalent",
    "sld.laws.fit_settings:FitSettings",
    "sld.laws.law:Law",
    "sld.laws.limits:limits",
)


@each("module", MODULES)
def test_examples_print_what_they_say(module: str) -> None:
    with np.printoptions(precision=6, suppress=True):
        result = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@each("where", WITH_EXAMPLE)
def test_what_is_called_most_has_an_example(where: str) -> None:
    module, name = where.split(":")
    assert module in MODULES  # or nobody runs it
    text = inspect.getdoc(getattr(importlib.import_module(module), name))
    assert text is not None and ">>>" in text, f"{where} has no runnable example"
