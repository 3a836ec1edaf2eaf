"""Candidates made up for tests of what ranks and remembers them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from sld.formula.expression import Expression, call, name
from sld.search.candidates.candidate import Candidate, Judgement


def formula(complexity: int = 5, n_constants: int = 2) -> Expression:
    """A formula with so many nodes, 2 n - 1 at least, and so many constants."""
    tree = name("c0")
    for k in range(1, n_constants):
        tree = call("+", name(f"c{k}"), tree)
    while (expression := Expression(tree, ("x",))).complexity < complexity:
        tree = call("exp", tree)
    return expression


def candidate(
    key: str, score: float, complexity: int = 5, *, n_constants: int = 2, status: str = "ok", **judged: Any
) -> Candidate:
    """A candidate of one target; what is `judged` is as `Judgement` has it."""
    judgement = Judgement(score, **{"fold_errors": (0.1, 0.2), "train_nmse": math.nan, **judged})
    expressions = {"y": formula(complexity, n_constants)}
    return Candidate(expressions, key, "test", (judgement,) if status == "ok" else (), status=status)


def rejudged(candidate: Candidate, **changes: Any) -> Candidate:
    """The candidate with another judgement on every target."""
    return replace(candidate, judgements=tuple(replace(j, **changes) for j in candidate.judgements))
